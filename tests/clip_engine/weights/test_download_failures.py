"""Weights that can't be fetched: each failure is one clear sentence."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from support.scripted_server import answering, response, scripted_server
from support.weights_server import DATA, WeightsServer, fetch, published

from clip_engine.errors import DownloadError
from clip_engine.weights.cache import fetch_weights


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_wrong_bytes_are_refused_and_thrown_away(cache):
    with scripted_server(WeightsServer(DATA[::-1])) as server:
        entry = published(server.url())

        with pytest.raises(DownloadError, match=f"SHA-256 .* instead of {entry.sha256}"):
            fetch(entry, cache)

    assert not (cache / "tiny.pt").exists()
    assert not (cache / "tiny.pt.part").exists()


def test_an_error_page_with_status_200_is_refused_with_both_digests_and_a_way_out(cache):
    with scripted_server(answering(response(b"<html>Please log in.</html>"))) as server:
        entry = published(server.url())

        with pytest.raises(DownloadError, match=r"proxies .* try again.* mirror") as caught:
            fetch(entry, cache)

    assert entry.url in str(caught.value)
    assert entry.sha256 in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(cache.glob("*.pt*[!k]"))  # nothing but the lock


@pytest.mark.parametrize("length", [299_999, 100])
def test_a_length_told_too_short_is_found_out_by_the_digest(cache, length):
    with (
        scripted_server(answering(response(DATA, length=length))) as server,
        pytest.raises(DownloadError, match="SHA-256"),
    ):
        fetch(published(server.url()), cache)

    assert not (cache / "tiny.pt").exists()


def test_a_length_told_too_long_ends_in_an_error_after_a_few_attempts(cache):
    with scripted_server(answering(response(DATA, length=300_001))) as server:
        with pytest.raises(DownloadError, match="5 attempts") as caught:
            fetch(published(server.url()), cache)

        assert len(server.heads) == 5
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "410 Gone", "204 No Content"])
def test_a_status_that_will_not_change_ends_at_once(cache, status):
    with scripted_server(answering(response(status=status))) as server:
        with pytest.raises(DownloadError, match=f"status {status[:3]}"):
            fetch(published(server.url()), cache)

        assert len(server.heads) == 1


def test_no_network_is_one_sentence_with_the_address_and_the_way_out(cache):
    with scripted_server(WeightsServer()) as server:
        entry = published(server.url())

    with pytest.raises(DownloadError) as caught:
        fetch(entry, cache)

    assert entry.url in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert str(cache / "tiny.pt") + " yourself" in str(caught.value)
    assert "Max retries" not in str(caught.value)


@pytest.mark.parametrize(
    "mirror", ["mirror.example", "ftp://mirror.example", "http://[", "http://"]
)
def test_a_mirror_that_is_no_url_ends_at_once(cache, mirror):
    pauses = []

    with pytest.raises(DownloadError, match="mirror"):
        fetch_weights(published("http://a.invalid/"), cache, mirror=mirror, pause=pauses.append)

    assert pauses == []


def test_offline_and_not_cached_names_the_path_and_the_url(cache):
    with scripted_server(WeightsServer()) as server:
        entry = published(server.url())

        with pytest.raises(DownloadError) as caught:
            fetch(entry, cache, offline=True)

        assert str(cache / "tiny.pt") in str(caught.value)
        assert entry.url in str(caught.value)
        assert server.heads == []
    assert not cache.exists()


def test_offline_refuses_a_file_with_other_bytes(cache):
    cache.mkdir()
    (cache / "tiny.pt").write_bytes(b"other")

    with pytest.raises(DownloadError, match="wrong checksum"):
        fetch(published("http://a.invalid/"), cache, offline=True)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files: /proc")
def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(cache, monkeypatch):
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
    with scripted_server(WeightsServer()) as server:
        fetch(published(server.url()), cache)
    # then
    assert seen == [("tiny.pt.part", False), ("cache", True)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a full disk")
def test_a_full_disk_is_said_to_be_full(cache):
    cache.mkdir()
    (cache / "tiny.pt.part").symlink_to("/dev/full")
    with (
        scripted_server(WeightsServer()) as server,
        pytest.raises(DownloadError, match="full") as caught,
    ):
        fetch(published(server.url()), cache)

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_too_little_room_is_found_before_anything_is_written(cache, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=299_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with (
        scripted_server(WeightsServer()) as server,
        pytest.raises(DownloadError, match="300000 bytes needed, 299999 free"),
    ):
        fetch(published(server.url()), cache)

    assert not (cache / "tiny.pt.part").exists()


def test_a_cache_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DownloadError, match="can't be used as a cache"):
        fetch(published("http://a.invalid/"), tmp_path / "file")


def test_a_cache_that_may_not_be_written_is_refused(cache, monkeypatch):
    def denied(*_args: object, **_options: object):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)

    with pytest.raises(DownloadError, match="this user can write to") as caught:
        fetch(published("http://a.invalid/"), cache)

    assert isinstance(caught.value.__cause__, PermissionError)
