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


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("CLIP_WORKER_") or name.lower() in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def models(cache, monkeypatch):
    """`models COMMAND ...` with the cache; its status."""
    monkeypatch.setenv("CLIP_WORKER_CACHE_DIR", str(cache))
    return lambda *arguments: run(["models", *map(str, arguments)])


@pytest.fixture
def publish(monkeypatch):
    """Make these the catalog's only entries."""

    def patch(*entries: Published):
        catalog = MappingProxyType({entry.name: entry for entry in entries})
        for module in (options, listing, verify, info):
            monkeypatch.setattr(module, "PUBLISHED", catalog)

    return patch


@pytest.fixture
def server():
    with scripted_server(WeightsServer()) as server:
        yield server


@pytest.fixture
def tiny(publish, server):
    """The catalog's only entry, 300,000 bytes that are no model."""
    entry = published(server.url())
    publish(entry)
    return entry


def written(folder, name="tiny.pt", config=TINY_VIT, **options: object):
    """A checkpoint file of a small model."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    state = {key: value.to(**options) for key, value in tiny_state(config).items()}
    torch.save(state, file)
    return file


# --- list ---


def test_all_published_models_are_listed_with_their_resolution_and_host(models, capsys):
    assert models("list") == 0

    heading, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert heading == ["name", "pixels", "cached", "size", "file", "or", "host"]
    assert rows == [
        [name, str(entry.input_resolution), "no", "openaipublic.azureedge.net"]
        for name, entry in PUBLISHED.items()
    ]


@pytest.mark.parametrize(
    ("name", "state"), [("ViT-B-32.pt", "unchecked"), ("ViT-B-32.pt.part", "partly")]
)
def test_what_is_in_the_cache_is_listed_with_its_path_and_size(models, cache, capsys, name, state):
    cache.mkdir()
    (cache / name).write_bytes(b"12345")

    assert models("list") == 0

    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ViT-B/32 ")]
    assert row.split() == ["ViT-B/32", "224", state, "5", "bytes", str(cache / name)]


def test_a_fetched_model_is_listed_as_verified(models, tiny, cache, capsys):
    assert models("download", "tiny") == 0
    capsys.readouterr()

    assert models("list", "--json") == 0

    [one] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert one == {
        "name": "tiny",
        "resolution": 224,
        "sha256": tiny.sha256,
        "url": tiny.url,
        "cached": "verified",
        "path": str(cache / "tiny.pt"),
        "size_bytes": 300_000,
    }


def test_a_mirror_is_listed_without_its_password(models, capsys):
    assert models("list", "--json", "--mirror", "https://anna:secret@mirror.example/clip") == 0

    printed = capsys.readouterr().out
    rn50 = json.loads(printed.splitlines()[0])
    assert rn50["url"] == f"https://mirror.example/clip/{PUBLISHED['RN50'].sha256}/RN50.pt"
    assert (rn50["cached"], rn50["path"], rn50["size_bytes"]) == ("no", None, None)
    assert "secret" not in printed


# --- download ---


def test_models_are_fetched_verified_and_told_in_order(models, publish, cache, capsys):
    with scripted_server(WeightsServer()) as one, scripted_server(WeightsServer(b"other")) as two:
        other = published(two.url(), b"other")
        second = dataclasses.replace(other, name="second", url=two.url("/second.pt"))
        publish(published(one.url()), second)

        assert models("download", "second", "tiny", "second") == 0

        assert len(one.heads) == len(two.heads) == 1
    assert (cache / "tiny.pt").read_bytes() == DATA
    assert capsys.readouterr().out.splitlines() == [
        f"second: {cache / 'second.pt'}, 5 bytes, verified",
        f"tiny: {cache / 'tiny.pt'}, 300.0 kB, verified",
    ]


def test_a_download_that_broke_off_is_gone_on_with(models, tiny, server, cache):
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(DATA[:100_000])

    assert models("download", "tiny") == 0

    assert ranges(server) == [100_000]
    assert (cache / "tiny.pt").read_bytes() == DATA


def test_a_terminal_has_a_bar_on_stderr_and_plain_text_on_stdout(models, tiny, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich take anything for a terminal

    assert models("download", "tiny") == 0

    printed = capsys.readouterr()
    assert "\x1b" in printed.err
    assert "300.0/300.0 kB" in printed.err
    assert printed.out.startswith("tiny: /")
    assert "\x1b" not in printed.out


def test_there_is_no_bar_where_stderr_is_no_terminal(models, tiny, capsys):
    assert models("download", "tiny") == 0

    assert capsys.readouterr().err == ""


def test_the_mirror_and_the_folder_may_be_options(models, publish, server, cache, tmp_path):
    publish(published("http://publisher.invalid/"))
    other = tmp_path / "other"

    assert models("download", "tiny", "--mirror", server.url("/clip"), "--cache-dir", other) == 0

    assert server.paths[0].startswith("/clip/")
    assert (other / "tiny.pt").read_bytes() == DATA
    assert not cache.exists()


def test_a_model_that_fails_is_one_sentence_and_the_others_are_fetched(
    models, publish, cache, capsys
):
    with (
        scripted_server(WeightsServer()) as good,
        scripted_server(answering(response(status="404 Not Found"))) as bad,
    ):
        tiny = published(good.url())
        absent = dataclasses.replace(tiny, name="absent", url=bad.url("/absent.pt"))
        publish(absent, tiny)

        assert models("download", "absent", "tiny") == 1

    printed = capsys.readouterr()
    assert printed.out.startswith("tiny: ")
    [sentence] = printed.err.splitlines()
    assert sentence.startswith(f"clip-worker: {absent.url} answered with status 404")


@pytest.mark.parametrize("option", ["--offline", ""])
def test_offline_fetches_nothing_and_says_what_to_fetch(models, tiny, server, capsys, option):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CLIP_WORKER_OFFLINE", "" if option else "1")

        assert models("download", "tiny", *filter(None, [option])) == 1

    assert server.heads == []
    [sentence] = capsys.readouterr().err.splitlines()
    assert "tiny.pt is not there and the network is switched off" in sentence
    assert tiny.url in sentence


# --- verify ---


def test_whole_files_are_verified_whatever_is_noted(models, tiny, cache, capsys):
    models("download", "tiny")
    capsys.readouterr()

    assert models("verify") == 0
    assert models("verify", "tiny") == 0

    assert capsys.readouterr().out.splitlines() == 2 * [f"tiny: {cache / 'tiny.pt'}, verified"]


def test_a_flipped_bit_is_found_and_the_next_download_mends_it(models, tiny, server, cache, capsys):
    # given: a bit of the disk that flips, which changes neither size nor time
    models("download", "tiny")
    path, status = cache / "tiny.pt", (cache / "tiny.pt").stat()
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    capsys.readouterr()
    # when / then
    assert models("verify") == 1
    [sentence] = capsys.readouterr().err.splitlines()
    assert f"{path} is damaged" in sentence
    assert "`clip-worker models download tiny`" in sentence
    # when / then
    assert models("download", "tiny") == 0
    assert path.read_bytes() == DATA
    assert models("verify") == 0


def test_a_named_model_that_is_not_there_is_told_with_the_command_that_fetches_it(
    models, tiny, tmp_path, capsys
):
    assert models("verify", "tiny", "--cache-dir", tmp_path / "a b") == 1

    [sentence] = capsys.readouterr().err.splitlines()
    command = f"`clip-worker models download tiny --cache-dir '{tmp_path / 'a b'}'`"
    assert sentence.endswith(f"tiny.pt is not there; fetch it with {command}.")


def test_an_empty_cache_has_nothing_to_verify(models, cache, capsys):
    assert models("verify") == 0

    assert capsys.readouterr().out == f"No published model is in {cache}.\n"


def test_a_folder_in_a_files_place_is_one_sentence(models, tiny, cache, capsys):
    (cache / "tiny.pt").mkdir(parents=True)

    assert models("verify") == 1

    [sentence] = capsys.readouterr().err.splitlines()
    assert f"{cache / 'tiny.pt'} can't be used: Is a directory" in sentence


# --- info ---


@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET])
def test_a_checkpoint_is_described(models, tmp_path, capsys, config: CLIPConfig):
    path = written(tmp_path, config=config, dtype=torch.float32)

    assert models("info", path, "--json") == 0

    told = json.loads(capsys.readouterr().out)
    with torch.device("meta"):
        expected = sum(parameter.numel() for parameter in CLIP(config).parameters())
    assert told["path"] == str(path)
    assert "state dict" in told["format"]
    assert told["published"] is None
    assert told["parameters"] == expected
    assert list(told["dtypes"]) == ["float32"]
    assert told["config"]["embed_dim"] == config.embed_dim
    assert told["config"]["vision_patch_size"] == config.vision_patch_size


def test_the_numbers_of_vit_b_32_are_those_that_were_published(models, tmp_path, capsys):
    # given: the architecture with no weights to speak of, in half precision
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

    assert models("info", tmp_path / "zeros.pt") == 0

    told = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    told = {name: value.strip() for name, value in told.items()}
    assert told["parameters"] == "151,277,313"
    assert told["stored as"] == "float16 (151,277,313)"
    assert (told["image resolution"], told["vision layers"]) == ("224", "12")
    assert "None" not in told.values()


def test_a_cached_model_is_described_by_its_name_and_known_by_its_bytes(
    models, publish, cache, tmp_path, capsys
):
    path = written(cache)
    entry = published("http://publisher.invalid/", path.read_bytes())
    publish(entry)
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())

    assert models("info", "tiny", "--json") == 0
    assert models("info", copy, "--json") == 0

    by_name, by_path = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (by_name["published"], by_name["digest"]) == ("tiny", entry.sha256)
    assert by_path == by_name | {"path": str(copy)}


def test_the_demo_model_is_described(models, capsys):
    assert models("info", "demo") == 0

    assert "parameters" in capsys.readouterr().out


# --- wrong input ---


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["download", "ViT-B-32"], "no published model 'ViT-B-32'; the names are RN50, RN101"),
        (["verify", "RN50", "vit"], "no published model 'vit'"),
        (["info", "nowhere.pt"], "There is no 'nowhere.pt'; give a file, a model's folder, or one"),
        (["info", "x" * 5000], "There is no 'xxx"),
        (["info", "RN50"], "RN50.pt'; fetch it with `clip-worker models download RN50`"),
        (["download", "RN50", "--mirror", "mirror.example"], "'mirror.example' is no mirror"),
        (["list", "--mirror", "ftp://a.example"], "'ftp://a.example' is no mirror"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_2(models, capsys, arguments, part):
    assert models(*arguments) == 2

    printed = capsys.readouterr()
    [sentence] = printed.err.splitlines()
    assert part in sentence
    assert printed.out == ""


@pytest.mark.parametrize("command", ["list", "download", "verify", "info"])
def test_a_cache_that_is_a_file_is_wrong_input(models, tmp_path, capsys, command):
    (tmp_path / "file").touch()
    names = [] if command == "list" else ["RN50"]

    assert models(command, *names, "--cache-dir", tmp_path / "file") == 2

    assert f"'{tmp_path / 'file'}' is a file" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 and no more", b"text"])
def test_a_file_that_is_no_checkpoint_is_one_sentence_and_status_2(
    models, tmp_path, capsys, content
):
    (tmp_path / "wrong.pt").write_bytes(content)

    assert models("info", tmp_path / "wrong.pt") == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"'{tmp_path / 'wrong.pt'}'" in printed.err
    assert "Traceback" not in printed.err


def test_another_networks_weights_are_one_sentence_and_status_2(models, tmp_path, capsys):
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")

    assert models("info", tmp_path / "other.pt") == 2

    assert "fc.weight" in capsys.readouterr().err


def test_help_of_each_command_says_what_it_does(capsys):
    for name in ("list", "download", "verify", "info"):
        assert run(["models", name, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: clip-worker models {name} ")
