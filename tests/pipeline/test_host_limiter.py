"""Which fetch starts when: shares of the threads, and what is remembered. No real time."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from support.host_bench import HostBench

from worker.pipeline import host_limiter
from worker.pipeline.host_limiter import host_of
from worker.pipeline.image_task import ImageTask


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("https://Example.com/cat.jpg", "https://example.com"),
        ("HTTPS://example.com?cat=1", "https://example.com"),
        ("http://example.com:8080#x", "http://example.com:8080"),
        ("http://[2001:db8::1]:80/cat", "http://[2001:db8::1]:80"),
        ("s3://pets/cats/1.jpg", "s3://pets"),
        ("redis://uploads/" + "0" * 64, None),
        ("file:///data/cat.jpg", None),
        ("file:/data/cat.jpg", None),
        ("data:image/png;base64,AAAA", None),
        ("DATA://example.com/,x", None),
        ("cat.jpg", None),
    ],
)
def test_a_uris_host_is_what_fails_together(uri: str, host: str | None) -> None:
    assert host_of(uri) == host


# --- shares ---


def test_a_lone_host_gets_three_quarters_of_the_threads_and_newcomers_start_at_once() -> None:
    bench = HostBench(threads=32)
    assert bench.going(bench.enter(*"a" * 1000)) == "a" * 24
    assert bench.going(bench.enter(*"bcdefgh")) == "bcdefgh"


def test_slow_hosts_leave_each_other_a_share_and_the_last_thread_to_a_newcomer() -> None:
    bench = HostBench(threads=8)
    held = bench.enter(*"a" * 50 + "b" * 50 + "c" * 50)
    assert Counter(bench.going(held)) == {"a": 6, "b": 1, "c": 1}
    # when those of the first end, the threads go round
    bench.answer(*bench.started[:6])
    running = Counter(bench.going(held)) - Counter({"a": 6})
    assert running.total() in (6, 7)
    assert max(running.values()) <= 3


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_threads_still_serve_everybody(threads: int) -> None:
    bench = HostBench(threads=threads)
    tasks = bench.enter(*"aaabbbccc")
    for ended in range(9):
        assert 1 <= len(bench.started) - ended <= threads
        bench.answer(bench.started[ended])
    assert set(bench.started) == set(tasks)


def test_hosts_that_wait_are_served_in_turn() -> None:
    bench = HostBench(threads=1)
    bench.enter(*"xaaaabbcc")
    for ended in range(8):
        bench.answer(bench.started[ended])
    assert bench.going(bench.started) == "xabcabcaa"


def test_a_bound_a_host_holds_where_the_share_would_allow_more() -> None:
    bench = HostBench(threads=32, most_a_host=2)
    tasks = bench.enter(*"aaaabb")
    assert bench.going(tasks) == "aabb"
    bench.answer(tasks[0])
    assert tasks[2] in bench.started


def test_a_fetch_that_is_not_wanted_any_more_is_dropped_in_its_turn() -> None:
    # given so many that dropping each inside the call before would be too deep
    bench = HostBench(threads=1)
    [first] = bench.enter("a")
    waiting = bench.enter(*"a" * 5000)
    [last] = bench.enter("a")
    bench.unwanted |= set(waiting)
    bench.answer(first)
    assert bench.started == [first, last]
    assert bench.dropped == dict.fromkeys(waiting)
    bench.answer(last)
    assert bench.is_clean(threads=1)


# --- memory ---


def test_a_host_in_order_that_nobody_visits_is_forgotten() -> None:
    bench = HostBench()
    bench.answer(*bench.enter(*"abcabc"))
    assert bench.is_clean(threads=32)


def test_only_so_many_hosts_that_failed_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    # given room for ten, a host that rests, and one that is busy
    monkeypatch.setattr(host_limiter, "MOST_HOSTS", 10)
    bench = HostBench()
    bench.rest("r")
    [busy] = bench.enter("busy")
    # when strangers name a hundred others
    for number in range(100):
        bench.fail(*bench.enter(f"host{number}"))
    # then the oldest are forgotten, but not the busy one
    assert len(bench.limiter) == 10
    bench.answer(busy)
    assert len(bench.limiter) == 9
    # and the end of the forgotten host's rest does not end a new one of the same name
    bench.timer.advance(0.9)
    bench.rest("r")
    [held] = bench.enter("r")
    bench.timer.advance(0.1)
    assert held not in bench.started
    bench.timer.advance(0.9)
    assert held in bench.started


def test_threads_may_share_it() -> None:
    # given fetches that end on threads of their own, and 8 threads that bring them
    bench = HostBench(threads=4)
    ended = threading.Semaphore(0)

    def end(task: ImageTask) -> None:
        bench.answer(task)
        ended.release()

    bench.start = lambda tasks: [  # type: ignore[method-assign,assignment,return-value]
        threading.Thread(target=end, args=(task,)).start() for task in tasks
    ]
    threads = [threading.Thread(target=bench.enter, args=(name,) * 50) for name in "aabbccdd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(400):
        assert ended.acquire(timeout=20)
    # then every thread is free again
    del bench.start
    assert bench.is_clean(threads=4)
