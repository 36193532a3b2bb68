"""The bound on what is fetched and not decoded yet."""

from __future__ import annotations

import threading

import numpy as np

from worker.preparation.fetch_stage import FileMemory, ProcessImage

LIMIT_S = 20.0


def image() -> ProcessImage:
    return ProcessImage(slot=0, uri="https://example.org/", data=None)


def test_an_image_that_reserves_again_waits_for_no_room_that_it_has() -> None:
    memory, large = FileMemory(100, np.zeros(1, np.int64)), image()
    for _ in range(3):  # as a fetch of unknown length does for each piece
        memory.reserve(large, 500)
    assert memory.used_bytes == 500
    memory.settle(large, 40)
    memory.reserve(large, 40)
    assert (memory.used_bytes, large.reserved_bytes) == (40, 40)


def test_who_does_not_fit_waits_in_turn_and_holds_nothing_meanwhile() -> None:
    # given one that holds most, and two that want more than is left
    memory, first = FileMemory(100, np.zeros(1, np.int64)), image()
    memory.reserve(first, 90)
    others = [image(), image()]
    memory.reserve(others[0], 5)
    ready: list[ProcessImage] = []
    changed = threading.Condition()

    def reserve(other: ProcessImage) -> None:
        memory.reserve(other, 60)
        with changed:
            ready.append(other)
            changed.notify_all()

    threads = [threading.Thread(target=reserve, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    with memory._changed:
        assert memory._changed.wait_for(lambda: memory.used_bytes == 90, LIMIT_S)
    # when it has been decoded, and then the next
    memory.settle(first, 0)
    for _ in others:
        with changed:
            assert changed.wait_for(lambda: bool(ready), LIMIT_S)
            done = ready.pop()
        assert memory.used_bytes == 60
        memory.settle(done, 0)
    for thread in threads:
        thread.join(LIMIT_S)
    assert memory.used_bytes == 0
