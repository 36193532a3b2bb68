"""`clip-worker models`: a cache in a temporary folder, and a publisher on loopback."""

from __future__ import annotations

import dataclasses
import json
import os
from types import MappingProxyType

import pytest
import torch
from support.scripted_server import answering, response, scripted_server
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_state
from support.weights_server import DATA, WeightsServer, published, ranges

from clip_engine.model import CLIP, CLIPConfig
from clip_engine.weights.catalog import PUBLISHED, Published
from worker.cli.entry import run
from worker.cli.models import info, options, verify
from worker.cli.models import list as listing


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def models(cache, monkeypatch, capsys):
    """Runs `clip-worker models`; its exit status, and the lines of its output and errors."""
    for name in list(os.environ):
        if name.upper().startswith("CLIP_WORKER_") or name.lower() in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLIP_WORKER_CACHE_DIR", str(cache))

    def models(*arguments: object):
        status = run(["models", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return models


@pytest.fixture
def described(models):
    """The description of a model, as JSON."""

    def described(model):
        status, [line], errors = models("info", model, "--json")
        assert (status, errors) == (0, [])
        return json.loads(line)

    return described


@pytest.fixture
def publish(monkeypatch):
    """Makes these the only entries of the catalog."""

    def publish(*entries: Published):
        catalog = MappingProxyType({entry.name: entry for entry in entries})
        for module in (options, listing, verify, info):
            monkeypatch.setattr(module, "PUBLISHED", catalog)

    return publish


@pytest.fixture
def server():
    with scripted_server(WeightsServer()) as server:
        yield server


@pytest.fixture
def tiny(publish, server):
    """The catalog's only entry, 300,000 bytes that are not a model."""
    entry = published(server.url())
    publish(entry)
    return entry


def written(folder, name="tiny.pt", config=TINY_VIT, **options: object):
    """The checkpoint file of a small model."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    state = {key: value.to(**options) for key, value in tiny_state(config).items()}
    torch.save(state, file)
    return file


# --- list ---


def test_all_published_models_are_listed_with_their_resolution_and_host(models):
    status, [heading, *rows], _ = models("list")

    assert status == 0
    assert heading.split() == ["name", "pixels", "cached", "size", "file", "or", "host"]
    assert [row.split() for row in rows] == [
        [name, str(entry.input_resolution), "no", "openaipublic.azureedge.net"]
        for name, entry in PUBLISHED.items()
    ]


@pytest.mark.parametrize(
    ("name", "state"), [("ViT-B-32.pt", "unchecked"), ("ViT-B-32.pt.part", "partly")]
)
def test_a_cached_file_is_listed_with_its_path_and_size(models, cache, name, state):
    cache.mkdir()
    (cache / name).write_bytes(b"12345")

    _, rows, _ = models("list")

    [row] = [row for row in rows if row.startswith("ViT-B/32 ")]
    assert row.split() == ["ViT-B/32", "224", state, "5", "bytes", str(cache / name)]


def test_a_downloaded_model_is_listed_as_verified(models, tiny, cache):
    models("download", "tiny")

    _, [line], _ = models("list", "--json")

    assert json.loads(line) == {
        "name": "tiny",
        "resolution": 224,
        "sha256": tiny.sha256,
        "url": tiny.url,
        "cached": "verified",
        "path": str(cache / "tiny.pt"),
        "size_bytes": 300_000,
    }


def test_a_mirror_is_listed_without_its_password(models):
    _, lines, _ = models("list", "--json", "--mirror", "https://anna:secret@mirror.example/clip")

    rn50 = json.loads(lines[0])
    assert rn50["url"] == f"https://mirror.example/clip/{PUBLISHED['RN50'].sha256}/RN50.pt"
    assert (rn50["cached"], rn50["path"], rn50["size_bytes"]) == ("no", None, None)
    assert "secret" not in "".join(lines)


# --- download ---


def test_models_are_downloaded_once_verified_and_reported_in_order(models, publish, cache):
    with scripted_server(WeightsServer()) as one, scripted_server(WeightsServer(b"other")) as two:
        other = published(two.url(), b"other")
        second = dataclasses.replace(other, name="second", url=two.url("/second.pt"))
        publish(published(one.url()), second)

        assert models("download", "second", "tiny", "second") == (
            0,
            [
                f"second: {cache / 'second.pt'}, 5 bytes, verified",
                f"tiny: {cache / 'tiny.pt'}, 300.0 kB, verified",
            ],
            [],
        )

        assert len(one.heads) == len(two.heads) == 1
    assert (cache / "tiny.pt").read_bytes() == DATA


def test_an_interrupted_download_is_resumed(models, tiny, server, cache):
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(DATA[:100_000])

    assert models("download", "tiny")[0] == 0

    assert ranges(server) == [100_000]
    assert (cache / "tiny.pt").read_bytes() == DATA


def test_on_a_terminal_the_progress_bar_is_on_stderr(models, tiny, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take any output for a terminal

    _, [line], errors = models("download", "tiny")

    assert "\x1b" in "".join(errors)
    assert "300.0/300.0 kB" in "".join(errors)
    assert line.startswith("tiny: /")
    assert "\x1b" not in line


def test_the_mirror_and_the_folder_may_be_options(models, publish, server, cache, tmp_path):
    publish(published("http://publisher.invalid/"))
    other = tmp_path / "other"

    assert models("download", "tiny", "--mirror", server.url("/clip"), "--cache-dir", other)[0] == 0

    assert server.paths[0].startswith("/clip/")
    assert (other / "tiny.pt").read_bytes() == DATA
    assert not cache.exists()


def test_a_model_that_fails_is_reported_and_the_others_are_downloaded(models, publish):
    with (
        scripted_server(WeightsServer()) as good,
        scripted_server(answering(response(status="404 Not Found"))) as bad,
    ):
        tiny = published(good.url())
        absent = dataclasses.replace(tiny, name="absent", url=bad.url("/absent.pt"))
        publish(absent, tiny)

        status, [line], [error] = models("download", "absent", "tiny")

    assert status == 1
    assert line.startswith("tiny: ")
    assert error.startswith(f"clip-worker: {absent.url} returned status 404")


@pytest.mark.parametrize("option", ["--offline", ""])
def test_offline_nothing_is_downloaded_and_the_error_has_the_url(
    models, tiny, server, monkeypatch, option
):
    monkeypatch.setenv("CLIP_WORKER_OFFLINE", "" if option else "1")

    status, _, [error] = models("download", "tiny", *filter(None, [option]))

    assert (status, server.heads) == (1, [])
    assert "tiny.pt doesn't exist, and downloads are disabled" in error
    assert tiny.url in error


# --- verify ---


def test_intact_files_are_verified(models, tiny, cache):
    models("download", "tiny")

    expected = (0, [f"tiny: {cache / 'tiny.pt'}, verified"], [])
    assert models("verify") == models("verify", "tiny") == expected


def test_a_flipped_bit_is_found_and_the_next_download_repairs_it(models, tiny, cache):
    # given: a bit of the disk that flips, which changes neither size nor time
    models("download", "tiny")
    path, status = cache / "tiny.pt", (cache / "tiny.pt").stat()
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    # when / then
    status, _, [error] = models("verify")
    assert status == 1
    assert f"{path} is damaged" in error
    assert "`clip-worker models download tiny`" in error
    # when / then
    assert models("download", "tiny")[0] == 0
    assert path.read_bytes() == DATA
    assert models("verify")[0] == 0


def test_a_missing_model_is_reported_with_the_command_that_downloads_it(models, tiny, tmp_path):
    status, _, [error] = models("verify", "tiny", "--cache-dir", tmp_path / "a b")

    assert status == 1
    command = f"`clip-worker models download tiny --cache-dir '{tmp_path / 'a b'}'`"
    assert error.endswith(f"tiny.pt does not exist; download it with {command}.")


def test_an_empty_cache_is_reported(models, cache):
    assert models("verify") == (0, [f"There are no published models in {cache}."], [])


def test_a_folder_in_place_of_a_file_is_reported(models, tiny, cache):
    (cache / "tiny.pt").mkdir(parents=True)

    status, _, [error] = models("verify")

    assert status == 1
    assert f"{cache / 'tiny.pt'} can't be read: Is a directory" in error


# --- info ---


@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET])
def test_a_checkpoint_is_described(described, tmp_path, config: CLIPConfig):
    path = written(tmp_path, config=config, dtype=torch.float32)

    description = described(path)

    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in CLIP(config).parameters())
    expected = {"path": str(path), "published": None, "parameters": parameters}
    assert description.items() >= expected.items()
    assert "state dict" in description["format"]
    assert list(description["dtypes"]) == ["float32"]
    for name in ("embed_dim", "vision_patch_size"):
        assert description["config"][name] == getattr(config, name)


def test_the_numbers_of_vit_b_32_are_the_published_ones(models, tmp_path):
    # given: a model of that architecture, in half precision
    config = CLIPConfig(
        embed_dim=512,
        image_resolution=224,
        vision_layers=12,
        vision_width=768,
        vision_patch_size=32,
        transformer_width=512,
        transformer_layers=12,
    )
    with torch.device("meta"):
        shapes = CLIP(config).state_dict()
    state = {name: torch.zeros(like.shape, dtype=torch.float16) for name, like in shapes.items()}
    torch.save(state, tmp_path / "zeros.pt")

    _, lines, _ = models("info", tmp_path / "zeros.pt")

    description = {name: value.strip() for name, value in (line.split("  ", 1) for line in lines)}
    assert description["parameters"] == "151,277,313"
    assert description["stored as"] == "float16 (151,277,313)"
    assert (description["image resolution"], description["vision layers"]) == ("224", "12")
    assert "None" not in description.values()


def test_a_published_model_is_found_by_its_name_and_recognised_by_its_bytes(
    described, publish, cache, tmp_path
):
    path = written(cache)
    entry = published("http://publisher.invalid/", path.read_bytes())
    publish(entry)
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())

    by_name, by_path = described("tiny"), described(copy)

    assert (by_name["published"], by_name["digest"]) == ("tiny", entry.sha256)
    assert by_path == by_name | {"path": str(copy)}


def test_the_demo_model_is_described(described):
    assert described("demo")["parameters"] > 0


# --- invalid input ---


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["download", "ViT-B-32"], "no published model 'ViT-B-32'; the names are RN50, RN101"),
        (["verify", "RN50", "vit"], "no published model 'vit'"),
        (["info", "nowhere.pt"], "no 'nowhere.pt'; give the path of a checkpoint, or one of demo"),
        (["info", "x" * 5000], "There is no 'xxx"),
        (["info", "RN50"], "RN50.pt'; download it with `clip-worker models download RN50`"),
        (["download", "RN50", "--mirror", "mirror.example"], "'mirror.example' is no mirror"),
        (["list", "--mirror", "ftp://a.example"], "'ftp://a.example' is no mirror"),
    ],
)
def test_invalid_input_is_one_sentence_and_status_2(models, arguments, part):
    status, printed, [error] = models(*arguments)

    assert (status, printed) == (2, [])
    assert part in error


@pytest.mark.parametrize("command", ["list", "download", "verify", "info"])
def test_a_cache_that_is_a_file_is_invalid_input(models, tmp_path, command):
    (tmp_path / "file").touch()
    names = [] if command == "list" else ["RN50"]

    status, _, errors = models(command, *names, "--cache-dir", tmp_path / "file")

    assert status == 2
    assert f"'{tmp_path / 'file'}' is a file" in errors[-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *(
            (content, "wrong.pt'")
            for content in (b"", b"<html>404</html>", b"PK\x03\x04 and no more", b"text")
        ),
        ({"fc.weight": torch.zeros(3, 3)}, "fc.weight"),
    ],
    ids=["an empty file", "a web page", "a truncated archive", "text", "another network"],
)
def test_a_file_that_is_not_a_checkpoint_is_invalid_input(models, tmp_path, content, words):
    path = tmp_path / "wrong.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)

    status, printed, errors = models("info", path)

    assert (status, printed) == (2, [])
    assert words in errors[0]
    assert not any("Traceback" in line for line in errors)
