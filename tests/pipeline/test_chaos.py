"""Many pictures of many hosts that fail at random: each future ends, and nothing is left over."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.pipeline_bench import LIMIT_S, Bench, jpeg

from clip_worker.errors import ImageUnavailableError, TemporaryError
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.retry import RetryPolicy

if TYPE_CHECKING:
    from concurrent.futures import Future

    from clip_engine.engine import Engine
    from worker.sources.reservation import Reserve

JOBS = 800
HOSTS = 20
THREADS = 4


class Weather:
    """A fetcher whose every answer is drawn; each picture is either there or not, for ever."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.picture = jpeg(1)
        self.asked: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()

    def fetch(self, uri: str, reserve: Reserve) -> bytes:
        host = uri.split("/")[2]
        with self.lock:
            self.asked[uri] += 1
            self.at_once[host] += 1
            self.most_at_once[host] = max(self.most_at_once[host], self.at_once[host])
            drawn = self.random.random()
        try:
            return self._answer(uri, drawn)
        finally:
            with self.lock:
                self.at_once[host] -= 1

    def _answer(self, uri: str, drawn: float) -> bytes:
        if "gone" in uri:
            raise ImageUnavailableError("There is none.", "FETCH_404")
        if "dead" in uri or drawn < 0.4:
            error = TemporaryError("It failed.", "FETCH_503")
            error.retry_after_s = 0.001 if drawn < 0.1 else None
            raise error
        return b"no picture" if "broken" in uri else self.picture


def bench(engine: Engine, weather: Weather) -> Bench:
    return Bench(
        engine,
        fetcher=weather,
        retry=RetryPolicy(attempts=12, base_s=0.001, longest_s=0.01, total_s=60.0),
        fetches=THREADS,
        rest=RestPolicy(3, 0.001, 2.0, 0.004),
        draw=random.Random(7).random,
    )


def submit_all(made: Bench) -> dict[str, Future[Any]]:
    kinds = ["fine"] * 6 + ["gone", "broken"]
    uris = [
        f"https://{'dead' if i % HOSTS == 0 else 'host'}{i % HOSTS}/{i}-{kinds[i % len(kinds)]}"
        for i in range(JOBS)
    ]
    return {uri: made.job(uri) for uri in uris}


def nothing_is_left(made: Bench) -> None:
    assert made.pipeline.in_flight == 0
    assert made.pipeline.resting == 0
    # and all threads are free: as many new hosts as there are threads are asked at once
    futures = [made.job(f"https://new{i}/gone") for i in range(THREADS)]
    assert {future.exception(LIMIT_S).code for future in futures} == {"FETCH_404"}


@pytest.mark.parametrize("seed", [1, 2])
def test_each_picture_ends_as_it_must_however_its_host_behaves(engine: Engine, seed: int) -> None:
    weather = Weather(seed)
    made = bench(engine, weather)
    futures = submit_all(made)
    assert made.pipeline.drain(LIMIT_S) == 0
    # then each has its own end
    for uri, future in futures.items():
        code = getattr(future.exception(0), "code", "OK")
        if "dead" in uri and "gone" not in uri:
            assert code == "FETCH_503"
        elif "gone" in uri:
            assert code == "FETCH_404"
        elif "broken" in uri:
            assert code in ("DECODE_UNRECOGNIZED", "FETCH_503")
        else:
            assert code in ("OK", "FETCH_503")
    # and a failure that can pass mostly did
    ends = Counter(future.exception(0) is None for uri, future in futures.items() if "fine" in uri)
    assert ends[True] > 0.9 * ends.total() * (1 - 1 / HOSTS)
    # and nobody was asked too often, or by too many at once
    assert max(weather.asked.values()) <= 12
    assert max(weather.most_at_once.values()) <= THREADS - 1
    nothing_is_left(made)
    made.close()


def test_giving_everything_up_at_any_moment_leaves_nothing_behind(engine: Engine) -> None:
    for jobs_done in (0, 1, 50, 300):
        made = bench(engine, Weather(jobs_done))
        ended = threading.Semaphore(0)
        futures = submit_all(made)
        for future in futures.values():
            future.add_done_callback(lambda _, ended=ended: ended.release())
        for _ in range(jobs_done):
            assert ended.acquire(timeout=LIMIT_S)
        # when
        made.pipeline.stop()
        # then
        assert all(future.done() for future in futures.values())
        made.close()
        assert made.pipeline.in_flight == 0
