"""Downloads into the cache, in one piece or several."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from support.scripted_server import answering, response
from support.weights_server import DATA, WeightsServer, fetch, published, ranges

from clip_engine.weights.cache import default_cache_dir, fetch_weights


def test_weights_are_downloaded_once_and_then_taken_from_the_cache(cache, serve):
    server = serve()
    entry = published(server.url())

    first, second = fetch(entry, cache), fetch(entry, cache)

    assert first == second == cache / "tiny.pt"
    assert first.read_bytes() == DATA
    assert server.paths == [f"/{entry.sha256}/tiny.pt"]
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize(
    ("script", "total"),
    [(WeightsServer(), 300_000), (answering(b"HTTP/1.0 200 OK\r\n\r\n" + DATA), None)],
    ids=["total", "no total"],
)
def test_progress_has_the_bytes_done_and_the_total_where_it_is_known(cache, serve, script, total):
    seen = []

    fetch(published(serve(script).url()), cache, progress=lambda *told: seen.append(told))

    assert seen[-1] == (300_000, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("left", "server", "first_bytes"),
    [
        pytest.param(b"", {"break_after": [100_000, 50_000]}, [0, 100_000, 150_000], id="broken"),
        pytest.param(
            b"",
            {"break_after": [50_000], "most_bytes": 100_000},
            [0, 50_000, 150_000, 250_000],
            id="shorter pieces than requested",
        ),
        pytest.param(
            b"", {"break_after": [100_000], "knows_ranges": False}, [0, 100_000], id="no ranges"
        ),
        pytest.param(DATA, {}, [300_000], id="complete"),
        pytest.param(bytes(300_001), {}, [300_001, 0], id="longer"),
        pytest.param(bytes(400_000), {"knows_ranges": False}, [400_000], id="longer, no ranges"),
        pytest.param(b"something else", {}, [14, 0], id="of another file"),
    ],
)
def test_a_download_continues_from_the_part_that_is_there(  # fixtures and cases
    cache, serve, caplog, left, server, first_bytes
):
    # given
    cache.mkdir()
    if left:
        (cache / "tiny.pt.part").write_bytes(left)
    running = serve(WeightsServer(**server))
    # then
    assert fetch(published(running.url()), cache).read_bytes() == DATA
    assert ranges(running) == first_bytes
    assert ("can't be resumed" in caplog.text) == (left == b"something else")


def test_a_response_with_another_range_than_requested_is_not_appended(cache, serve):
    cache.mkdir()
    (cache / "tiny.pt.part").write_bytes(DATA[:1000])
    other = response(DATA[:500], "206 Partial Content", Content_Range="bytes 0-499/300000")
    server = serve(answering(other, response(DATA)))

    assert fetch(published(server.url()), cache).read_bytes() == DATA
    assert ranges(server) == [1000, 0]


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Too Many", "408 Slow"])
def test_a_busy_server_is_asked_again_after_a_pause(cache, serve, status):
    pauses = []
    server = serve(WeightsServer(statuses=[status, status]))

    path = fetch_weights(published(server.url()), cache, pause=pauses.append)

    assert path.read_bytes() == DATA
    assert pauses == [0.5, 1.0]


def test_offline_uses_a_file_that_was_put_there_by_hand(cache):
    cache.mkdir()
    (cache / "tiny.pt").write_bytes(DATA)

    assert fetch(published("http://a.invalid/"), cache, offline=True) == cache / "tiny.pt"


def test_a_wrong_file_in_the_cache_is_replaced_with_a_warning(cache, serve, caplog):
    cache.mkdir()
    (cache / "tiny.pt").write_bytes(b"other")
    with caplog.at_level(logging.WARNING):
        assert fetch(published(serve().url()), cache).read_bytes() == DATA

    assert "tiny.pt has a wrong checksum" in caplog.text


def test_the_default_cache_is_that_of_openai_s_package():
    assert default_cache_dir({"HOME": "/home/anna"}) == Path("/home/anna/.cache/clip")
    assert default_cache_dir({}) == Path.home() / ".cache" / "clip"
    assert default_cache_dir().parts[-2:] == (".cache", "clip")
    assert os.environ.get("HOME", "") in str(default_cache_dir())
