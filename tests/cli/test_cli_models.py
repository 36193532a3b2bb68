"""`clip-worker models list`, `download` and `verify`."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
from support.scripted_server import answering, response, scripted_server
from support.weights_server import DATA, WeightsServer, published, ranges

from clip_engine.weights.catalog import PUBLISHED

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
