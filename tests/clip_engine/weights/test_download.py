"""Fetching weights into a cache, whole or in pieces."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from support.scripted_server import answering, response, scripted_server
from support.weights_server import DATA, WeightsServer, fetch, published, ranges

from clip_engine.weights.cache import default_cache_dir, fetch_weights


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_weights_are_fetched_once_and_then_taken_from_the_cache(cache):
    with scripted_server(WeightsServer()) as server:
        entry = published(server.url())

        first, second = fetch(entry, cache), fetch(entry, cache)

        assert first == second == cache / "tiny.pt"
        assert first.read_bytes() == DATA
        assert server.paths == [f"/{entry.sha256}/tiny.pt"]
        assert not list(cache.glob("*.part"))


def test_progress_tells_bytes_done_and_bytes_in_all(cache):
    seen = []
    with scripted_server(WeightsServer()) as server:
        fetch(published(server.url()), cache, progress=lambda *told: seen.append(told))

    assert seen[-1] == (300_000, 300_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_total_is_none_where_the_server_does_not_tell(cache):
    seen = []
    with scripted_server(answering(b"HTTP/1.0 200 OK\r\n\r\n" + DATA)) as server:
        fetch(published(server.url()), cache, progress=lambda *told: seen.append(told))

    assert seen[-1] == (300_000, None)


def test_a_mirror_is_asked_instead_of_the_publisher(cache):
    with scripted_server(WeightsServer()) as server:
        entry = published("https://publisher.invalid/")

        fetch(entry, cache, mirror=server.url("/clip"))

        assert server.paths == [f"/clip/{entry.sha256}/tiny.pt"]


def test_the_proxy_of_the_environment_is_used_where_it_is_meant_to_be(cache, monkeypatch):
    with scripted_server(WeightsServer()) as server:
        monkeypatch.setenv("http_proxy", server.url())
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        near, far = published(server.url()), published("http://publisher.invalid/")

        fetch(near, cache / "near")
        fetch(far, cache / "far")

        assert server.paths == [f"/{near.sha256}/tiny.pt", far.url]


def test_a_transfer_that_breaks_off_is_taken_up_where_it_broke(cache):
    with scripted_server(WeightsServer(break_after=[100_000, 50_000])) as server:
        path = fetch(published(server.url()), cache)

        assert path.read_bytes() == DATA
        assert ranges(server) == [0, 100_000, 150_000]


def test_pieces_shorter_than_asked_for_are_put_together(cache):
    with scripted_server(WeightsServer(break_after=[50_000], most_bytes=100_000)) as server:
        path = fetch(published(server.url()), cache)

        assert path.read_bytes() == DATA
        assert ranges(server) == [0, 50_000, 150_000, 250_000]


def test_a_server_that_ignores_ranges_is_read_from_the_start(cache):
    lazy = WeightsServer(break_after=[100_000], knows_ranges=False)
    with scripted_server(lazy) as server:
        path = fetch(published(server.url()), cache)

        assert path.read_bytes() == DATA
        assert ranges(server) == [0, 100_000]


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("left_bytes", [300_001, 400_000])
def test_a_part_longer_than_the_whole_is_fetched_from_the_start(cache, left_bytes, knows_ranges):
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(bytes(left_bytes))
    with scripted_server(WeightsServer(knows_ranges=knows_ranges)) as server:
        assert fetch(published(server.url()), cache).read_bytes() == DATA


def test_a_part_that_is_the_whole_is_not_fetched_again(cache):
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(DATA)
    with scripted_server(WeightsServer()) as server:
        assert fetch(published(server.url()), cache).read_bytes() == DATA
        assert ranges(server) == [300_000]


def test_a_part_of_something_else_is_thrown_away_after_the_check(cache, caplog):
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(b"something else")
    with scripted_server(WeightsServer()) as server:
        assert fetch(published(server.url()), cache).read_bytes() == DATA
        assert ranges(server) == [14, 0]
    assert "can't be resumed" in caplog.text


def test_an_answer_to_another_range_than_asked_for_is_not_appended(cache):
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(DATA[:1000])
    other = response(DATA[:500], "206 Partial Content", Content_Range="bytes 0-499/300000")
    with scripted_server(answering(other, response(DATA))) as server:
        assert fetch(published(server.url()), cache).read_bytes() == DATA
        assert ranges(server) == [1000, 0]


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Too Many", "408 Slow"])
def test_a_busy_server_is_asked_again_after_a_pause(cache, status):
    pauses = []
    with scripted_server(WeightsServer(statuses=[status, status])) as server:
        path = fetch_weights(published(server.url()), cache, pause=pauses.append)

    assert path.read_bytes() == DATA
    assert pauses == [0.5, 1.0]


def test_offline_takes_a_file_that_was_put_there_by_hand(cache):
    cache.mkdir()
    (cache / "tiny.pt").write_bytes(DATA)

    assert fetch(published("http://a.invalid/"), cache, offline=True) == cache / "tiny.pt"


def test_a_wrong_file_in_the_cache_is_fetched_anew_with_a_warning(cache, caplog):
    cache.mkdir()
    (cache / "tiny.pt").write_bytes(b"other")
    with scripted_server(WeightsServer()) as server, caplog.at_level(logging.WARNING):
        assert fetch(published(server.url()), cache).read_bytes() == DATA

    assert "tiny.pt has a wrong checksum" in caplog.text


def test_the_default_cache_is_that_of_openai_s_package():
    assert default_cache_dir({"HOME": "/home/anna"}) == Path("/home/anna/.cache/clip")
    assert default_cache_dir({}) == Path.home() / ".cache" / "clip"
    assert default_cache_dir().parts[-2:] == (".cache", "clip")
    assert os.environ.get("HOME", "") in str(default_cache_dir())
