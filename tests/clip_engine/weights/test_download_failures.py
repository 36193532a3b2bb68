"""Downloads that fail: each failure is one clear sentence."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from support.scripted_server import answering, response
from support.weights_server import DATA, WeightsServer, fetch, published

from clip_engine.errors import DownloadError
from clip_engine.weights.cache import fetch_weights

NOWHERE = "http://a.invalid/"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(WeightsServer(DATA[::-1]), id="wrong bytes"),
        pytest.param(answering(response(b"<html>Please log in.</html>")), id="login page"),
        pytest.param(answering(response(DATA, length=299_999)), id="a byte too short"),
        pytest.param(answering(response(DATA, length=100)), id="far too short"),
    ],
)
def test_wrong_bytes_are_discarded_and_reported_with_both_digests(cache, serve, failure, script):
    entry = published(serve(script).url())

    _, message = failure(entry)

    for part in (entry.url, f"instead of {entry.sha256}", "proxies", "another mirror"):
        assert part in message
    assert not list(cache.glob("*.pt*[!k]"))  # nothing but the lock


def test_a_length_that_is_too_long_ends_in_an_error_after_a_few_attempts(serve, failure):
    server = serve(answering(response(DATA, length=300_001)))

    error, message = failure(published(server.url()))

    assert "5 attempts" in message
    assert len(server.heads) == 5
    assert error.__cause__ is not None


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "410 Gone", "204 No Content"])
def test_a_status_that_will_not_change_ends_at_once(serve, failure, status):
    server = serve(answering(response(status=status)))

    assert f"status {status[:3]}" in failure(published(server.url()))[1]
    assert len(server.heads) == 1


def test_a_server_that_cant_be_reached_is_reported_with_the_url_and_the_path(cache, failure):
    entry = published("http://127.0.0.1:1/")

    _, message = failure(entry)

    for part in (entry.url, "Connection refused", f"{cache / 'tiny.pt'} yourself"):
        assert part in message


@pytest.mark.parametrize(
    "mirror", ["mirror.example", "ftp://mirror.example", "http://[", "http://"]
)
def test_a_mirror_that_is_not_a_url_ends_at_once(cache, mirror):
    pauses = []

    with pytest.raises(DownloadError, match="mirror"):
        fetch_weights(published(NOWHERE), cache, mirror=mirror, pause=pauses.append)

    assert pauses == []


def test_offline_a_missing_file_is_reported_with_the_path_and_the_url(cache, serve, failure):
    server = serve()
    entry = published(server.url())

    _, message = failure(entry, offline=True)

    assert str(cache / "tiny.pt") in message
    assert entry.url in message
    assert server.heads == []
    assert not cache.exists()


def test_offline_a_file_with_other_bytes_is_refused(cache, failure):
    cache.mkdir()
    (cache / "tiny.pt").write_bytes(b"other")

    assert "wrong checksum" in failure(published(NOWHERE), offline=True)[1]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files: /proc")
def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(cache, serve, monkeypatch):
    # given: a record of what is written through, and what there is at that time
    seen = []
    sync = os.fsync

    def record(number):
        here = {path.name for path in cache.iterdir()}
        seen.append((Path(f"/proc/self/fd/{number}").resolve().name, "tiny.pt" in here))
        sync(number)

    monkeypatch.setattr(os, "fsync", record)
    # when: all bytes had come before a power failure, none surely on the disk
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(DATA)
    fetch(published(serve().url()), cache)
    # then
    assert seen == [("tiny.pt.part", False), ("cache", True)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a full disk")
def test_a_full_disk_is_reported(cache, serve, failure):
    cache.mkdir()
    (cache / "tiny.pt.part").symlink_to("/dev/full")

    error, message = failure(published(serve().url()))

    assert "full" in message
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == errno.ENOSPC


def test_too_little_space_is_found_before_anything_is_written(cache, serve, failure, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=299_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)

    assert "300000 bytes needed, 299999 free" in failure(published(serve().url()))[1]
    assert not (cache / "tiny.pt.part").exists()


def test_a_cache_that_is_not_a_folder_is_refused(tmp_path, failure):
    (tmp_path / "file").write_bytes(b"")

    assert "can't be used as a cache" in failure(published(NOWHERE), tmp_path / "file")[1]


def test_a_cache_that_cant_be_written_is_refused(failure, monkeypatch):
    def denied(*_args: object, **_options: object):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)

    error, message = failure(published(NOWHERE))

    assert "this user can write to" in message
    assert isinstance(error.__cause__, PermissionError)
