"""`clip-worker models list`, `download` and `verify`."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from support.scripted_server import answering, response, scripted_server
from support.tiny_clip import write_tiny
from support.weights_server import DATA, WeightsServer, published, ranges

from clip_engine.weights.catalog import PUBLISHED
from worker.cli.models import measure

# --- list ---


TAG, REPOSITORY = "ViT-B-16-SigLIP2-256/webli", "timm/ViT-B-16-SigLIP2-256"
TAG_FILES = {"open_clip_model.safetensors": b"weights", "tokenizer.json": b"{}"}


def as_objects(lines):
    return {one["name"]: one for one in map(json.loads, lines)}


def test_models_of_all_families_are_listed_with_their_size_cost_and_licence(models):
    status, [heading, *rows], _ = models("list")

    assert status == 0
    assert heading.split() == [
        *("name", "family", "parameters", "pixels", "cost", "ImageNet"),
        *("languages", "licence", "cached", "images/s"),
    ]
    assert [row.split()[0] for row in rows[:9]] == list(PUBLISHED)
    assert [row.split() for row in rows if row.startswith(("ViT-B/32 ", TAG, "ViTamin"))] == [
        ["ViT-B/32", "OpenAI", "CLIP", "151", "M", "224", "1.0", "63.3", "English", "MIT", "no"],
        [TAG, "SigLIP", "2", "375", "M", "256", "5.3", "79.1", "multilingual", "Apache-2.0", "no"],
        ["ViTamin-L/datacomp1b", "ViTamin", "457", "M", "224", "17.0", "English", "?", "no"],
    ]


@pytest.mark.parametrize(
    ("name", "state"), [("ViT-B-32.pt", "unchecked"), ("ViT-B-32.pt.part", "partly")]
)
def test_a_cached_file_is_listed_with_its_path_and_size(models, cache, name, state):
    cache.mkdir()
    (cache / name).write_bytes(b"12345")

    listed = as_objects(models("list", "--json")[1])["ViT-B/32"]

    assert (listed["cached"], listed["path"]) == (state, str(cache / name))
    assert listed["size_bytes"] == 5


def test_a_downloaded_model_is_listed_as_verified(models, tiny, cache):
    models("download", "tiny")

    _, [line], _ = models("list", "--json")

    known = {key: value for key, value in json.loads(line).items() if value is not None}
    assert known == {
        "name": "tiny",
        "resolution": 224,
        "sha256": tiny.sha256,
        "url": tiny.url,
        "cached": "verified",
        "path": str(cache / "tiny.pt"),
        "size_bytes": 300_000,
    }


def test_a_model_in_the_hubs_cache_is_listed_as_present(models, hub):
    hub.add(REPOSITORY, TAG_FILES)
    assert as_objects(models("list", "--json")[1])[TAG]["cached"] == "no"

    models("download", TAG)

    listed = as_objects(models("list", "--json")[1])[TAG]
    assert (listed["cached"], listed["size_bytes"]) == ("present", len(b"weights{}"))
    assert (listed["repository"], listed["url"]) == (REPOSITORY, None)


def test_what_is_cached_is_measured_if_that_is_asked_for(models, publish, cache, monkeypatch):
    monkeypatch.setattr(measure, "LEAST_S", 0.0)
    path = write_tiny(cache, "tiny.pt")
    entry = published("http://publisher.invalid/", path.read_bytes())
    publish(entry, dataclasses.replace(entry, name="absent", url="http://publisher.invalid/a.pt"))

    listed = as_objects(models("list", "--json", "--measure")[1])

    assert listed["tiny"]["images_per_s"] > 0
    assert listed["absent"]["images_per_s"] is None


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


def test_a_model_of_the_hub_is_downloaded_and_a_second_time_only_if_its_branch_moved(models, hub):
    first = hub.add(REPOSITORY, TAG_FILES)
    status, [line], _ = models("download", TAG)
    assert status == 0
    assert line.startswith(f"{TAG}: /")
    assert line.endswith(f"7 bytes, commit {first}")

    models("download", TAG)
    assert sum(path.startswith("/storage/") for _, path in hub.requests) == 1

    moved = hub.add(REPOSITORY, {**TAG_FILES, "open_clip_model.safetensors": b"better"})
    assert moved in models("download", TAG)[1][0]


def test_a_model_that_the_hub_refuses_is_reported(models, hub):
    hub.add(REPOSITORY, TAG_FILES, gated=True)
    status, printed, [error] = models("download", TAG)
    assert (status, printed) == (1, [])
    assert f"The repository '{REPOSITORY}' is gated" in error


# --- verify ---


def test_a_damaged_file_of_the_hub_is_found(models, hub):
    # given
    hub.add(REPOSITORY, TAG_FILES)
    [line] = models("download", TAG)[1]
    path = Path(line.removeprefix(f"{TAG}: ").partition(",")[0])
    assert models("verify") == models("verify", TAG) == (0, [f"{TAG}: {path.parent}, verified"], [])
    # when
    (path.parent / "tokenizer.json").resolve().write_bytes(b"[]")
    # then
    status, printed, [error] = models("verify")
    assert (status, printed) == (1, [])
    assert f"{path.parent / 'tokenizer.json'} is damaged" in error
    assert f"`clip-worker models download {TAG}`" in error


def test_a_model_of_the_hub_that_is_not_cached_is_reported(models, hub):
    hub.add(REPOSITORY, TAG_FILES)
    status, _, [error] = models("verify", TAG)
    assert status == 1
    assert "not all in the cache" in error
    assert hub.requests == []


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
