"""Images that used to take a worker's time or memory, all at once, on processes as shipped."""

from __future__ import annotations

import sys

import pytest
from support.hostile_images import LARGE, REFUSED, encoded
from support.image_zoo import photo
from support.preparing import Bench, running, settings, status

from clip_engine.images.transform import ImageTransform

BUDGET = 3_000_000_000


def resident_bytes(bench: Bench, field: str) -> dict[int, int]:
    """Of each process; but for those that are just ending, which have none any more."""
    reported = {pid: status(pid).get(field) for pid in bench.pids()}
    return {pid: 1024 * int(text.split()[0]) for pid, text in reported.items() if text}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of memory")
def test_each_is_refused_or_answered_and_neighbours_and_memory_are_not_touched() -> None:
    hostile = [make() for make in (*REFUSED.values(), *LARGE.values())]
    small = encoded(photo((64, 48), 1), "JPEG")
    with running(settings(transform=ImageTransform(224), slots=256, memory_bytes=BUDGET)) as bench:
        bench.wait(bench.submit(small))
        usual = max(resident_bytes(bench, "VmRSS").values())
        # when all of them come at once, and others after them, one by one
        keys = bench.submit(*hostile, first=100)
        neighbours = 0
        while not {*keys} <= {*bench.outcomes}:
            assert bench.codes(bench.submit(small, first=1000 + neighbours)) == [None]
            neighbours += 1
        # then
        assert bench.codes(keys[: len(REFUSED)]) == [
            "TOO_MANY_PIXELS" if name == "RLE" else "DECODE_TOO_EXPENSIVE" for name in REFUSED
        ]
        assert bench.codes(keys[len(REFUSED) :]) == [None] * len(LARGE)
        # and others were answered while the large ones were decoded, by the same processes
        assert neighbours > 20
        assert bench.pool.stats()["restarts"] == 0
        peaks = resident_bytes(bench, "VmHWM").values()
        assert sum(max(0, peak - usual) for peak in peaks) < BUDGET
