"""The bound on what is fetched and not decoded yet."""

from __future__ import annotations

import threading

from worker.preparation.fetch_stage import FileMemory, Picture

LIMIT_S = 20.0


def picture() -> Picture:
    return Picture(ticket=1, slot=0, uri="https://example.org/", data=None, ends_at_s=None)


def test_a_picture_that_reserves_again_waits_for_no_room_that_it_has() -> None:
    memory, large = FileMemory(100), picture()
    for _ in range(3):  # as a fetch of unknown length does for each piece
        memory.reserve(large, 500)
    assert memory.used_bytes == 500
    memory.settle(large, 40)
    memory.reserve(large, 40)
    assert (memory.used_bytes, large.reserved) == (40, 40)


def test_who_does_not_fit_waits_in_turn_and_holds_nothing_meanwhile() -> None:
    # given one that holds most, and two that want more than is left
    memory, first = FileMemory(100), picture()
    memory.reserve(first, 90)
    others = [picture(), picture()]
    memory.reserve(others[0], 5)
    ready: list[Picture] = []
    changed = threading.Condition()

    def reserve(other: Picture) -> None:
        memory.reserve(other, 60)
        with changed:
            ready.append(other)
            changed.notify_all()

    threads = [threading.Thread(target=reserve, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    with memory._changed:
        assert memory._changed.wait_for(lambda: len(memory._turns) == 2, LIMIT_S)
        assert memory.used_bytes == 90
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
