"""What a dead, stopped or endless preparation process costs: the image that it was decoding."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
from collections.abc import Iterator

import pytest
from support.hostile_images import jpeg_of_scans
from support.image_zoo import photo
from support.preparing import RESOLUTION, Bench, running, settings
from support.waiting import is_gone, wait_until

from clip_engine.errors import ImageError
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor
from worker.preparation import ImageRequest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processor time")

SLOW = jpeg_of_scans(200, 4000)  # half a second of processor time
ENDLESS = jpeg_of_scans(990, 4490)  # six times as much: all that the checks let pass
CPU_S = 1.0
SLOW_URI = "redis://uploads/slow"


def jpeg(seed: int = 0) -> bytes:
    file = io.BytesIO()
    photo((64, 48), seed).save(file, "JPEG")
    return file.getvalue()


SMALL = [jpeg(seed) for seed in range(100)]


@pytest.fixture(scope="module")
def shared_bench() -> Iterator[Bench]:
    with running(settings(decode_cpu_s=CPU_S)) as bench:
        yield bench


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    shared_bench.outcomes.clear()
    return shared_bench


def end(pid: int, number: signal.Signals) -> None:
    """Send a deadly signal; returns once the process is gone and reaped."""
    os.kill(pid, number)
    wait_until(lambda: is_gone(pid))


def begin_slow(bench: Bench) -> tuple[int, int]:
    """Submit an image and see it being decoded: its key, and the process."""
    for key in range(1000, 1100):  # it may be done before this thread has a look
        bench.pool.submit([ImageRequest(key, SLOW_URI, SLOW)])
        if decoding := decoder_of(bench, key):
            return key, decoding
    raise AssertionError("100 images were decoded before anybody looked")


def decoder_of(bench: Bench, key: int) -> int | None:
    """The process that decodes the slow image; None if that is done already."""
    wait_until(lambda: bench.who_decodes_now(SLOW_URI) or key in bench.outcomes)
    return next(iter(bench.who_decodes_now(SLOW_URI)), None)


def test_a_picture_is_tried_alone_after_one_death_and_given_up_after_two(bench: Bench) -> None:
    second = None
    while not second:
        # given an image that is being decoded, and others in the same processes
        slow, first = begin_slow(bench)
        keys = bench.submit(*SMALL)
        # when its process dies
        end(first, signal.SIGKILL)
        # then it is decoded again, with nothing else in flight
        second = decoder_of(bench, slow)
        assert second or bench.codes([slow]) == [None]
    assert second != first
    (process,) = [each for each in bench.processes() if each["pid"] == second]
    assert process["in_flight"] == 1
    end(second, signal.SIGSEGV)
    (outcome,) = bench.wait([slow])
    assert type(outcome.error) is ImageError
    assert outcome.error.code == "DECODE_CRASHED"
    assert "SIGSEGV" in outcome.error.message
    # and the others never noticed
    assert bench.codes(keys) == [None] * 100


def test_an_innocent_picture_is_answered_after_a_death(bench: Bench) -> None:
    slow, decoding = begin_slow(bench)
    end(decoding, signal.SIGKILL)
    assert bench.codes([slow]) == [None]
    assert bench.pixels[slow].equal(Preprocessor(ImageTransform(RESOLUTION)).from_bytes(SLOW))


def test_decodes_that_take_too_much_processor_time_are_ended(bench: Bench) -> None:
    # given as many as there are processes
    slow = bench.submit(ENDLESS, ENDLESS, first=1000)
    wait_until(lambda: sum(each["in_flight"] for each in bench.processes()) == 2)
    # then others go to processes that stand in, and are there before
    keys = bench.submit(*[jpeg(seed) for seed in range(40)])
    assert bench.codes(keys) == [None] * 40
    assert not {*slow} & {*bench.outcomes}
    # and these fail
    assert [type(each.error) for each in bench.wait(slow)] == [ImageError] * 2
    assert bench.codes(slow) == ["DECODE_TOO_EXPENSIVE"] * 2
    # and there are as many processes as there should be in the end
    bench.codes(bench.submit(jpeg(), first=500))
    wait_until(lambda: len(bench.processes()) == 2)


def test_a_stopped_process_is_replaced_and_blames_nobody(bench: Bench) -> None:
    stopped = bench.processes()[0]["pid"]
    os.kill(stopped, signal.SIGSTOP)
    assert bench.codes(bench.submit(*SMALL)) == [None] * 100
    wait_until(lambda: is_gone(stopped))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_fork_server_may_die_or_be_stopped(
    bench: Bench, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.preparation.supervisor._SERVER_S", 1.0)
    slow, decoding = begin_slow(bench)
    before = bench.pids()
    keys = bench.submit(*SMALL)
    os.kill(before[0], number)
    if number == signal.SIGSTOP:  # it matters once a process is to be started
        os.kill(decoding, signal.SIGKILL)
    assert bench.codes([slow, *keys]) == [None] * 101
    wait_until(lambda: all(map(is_gone, before)))


def test_no_slot_is_lost_and_no_picture_told_twice_however_many_processes_die(
    bench: Bench,
) -> None:
    # given thousands of images, some of them broken
    rng = random.Random(3)
    sound, broken = [jpeg(seed) for seed in range(8)], [b"no image", jpeg()[:-200]]
    pictures = [rng.choice(broken if rng.random() < 0.1 else sound) for _ in range(3000)]
    # when a process is killed again and again
    keys = bench.submit(*pictures)
    for share in range(1, 9):
        wait_until(lambda share=share: len(bench.outcomes) >= share * 300)
        if pids := [each["pid"] for each in bench.processes()]:
            os.kill(rng.choice(pids), signal.SIGKILL)
    # then each image has the outcome that is its own
    expected = [None if picture in sound else "DECODE_" for picture in pictures]
    for key, code, wanted in zip(keys, bench.codes(keys), expected, strict=True):
        assert code == wanted or (wanted and code and code.startswith(wanted)), key
    assert bench.pool.stats()["restarts"]
