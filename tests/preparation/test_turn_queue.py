"""Tenants take turns wherever their images wait in a worker."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.preparing import settings

from clip_worker.errors import TemporaryError
from worker.preparation.image_queue import ImageQueue
from worker.preparation.records import ImageRequest
from worker.preparation.turn_queue import TurnQueue


def queue_of(*items: str) -> TurnQueue[str]:
    """Items named after their tenant, such as `a1`."""
    queue = TurnQueue[str](lambda item: item[0])
    queue.extend(items)
    return queue


def drained(queue: TurnQueue[str]) -> list[str]:
    return [queue.popleft() for _ in range(len(queue))]


def test_one_item_of_each_tenant_in_turn() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "c1", "c2")
    assert queue.firsts() == ["a1", "b1", "c1"]
    assert drained(queue) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_who_comes_later_waits_for_one_item_of_each_other() -> None:
    queue = queue_of(*(f"a{i}" for i in range(1000)))
    queue.popleft()
    queue.append("b1")
    assert drained(queue)[:2] == ["a1", "b1"]


def test_what_is_put_back_is_next() -> None:
    queue = queue_of("a1", "b1", "a2")
    first, second = queue.popleft(), queue.popleft()
    for item in (second, first):
        queue.appendleft(item)
    assert drained(queue) == ["a1", "b1", "a2"]


def test_an_empty_queue_has_no_next_item() -> None:
    queue = queue_of()
    assert not queue
    with pytest.raises(IndexError):
        queue.peek()
    with pytest.raises(IndexError):
        queue.popleft()


@given(st.lists(st.sampled_from("abc") | st.none(), max_size=60))
def test_nothing_is_lost_and_nobody_is_passed_twice(steps: list[str | None]) -> None:
    # given tenants that put items in, and takes (None), in any order
    queue, put, took = queue_of(), Counter[str](), list[str]()
    waiting_since: dict[str, Counter[str]] = {}  # what others got while a tenant waited
    for tenant in steps:
        if tenant is not None:
            put[tenant] += 1
            queue.append(f"{tenant}{put[tenant]}")
            waiting_since.setdefault(tenant, Counter())
        elif queue:
            assert queue.peek() == queue.firsts()[0]
            took.append(queue.popleft())
            served = took[-1][0]
            for tenant_, others in waiting_since.items():
                if tenant_ != served:
                    others[served] += 1
                    assert others[served] <= 1
            waiting_since.pop(served)
            if any(item[0] == served for item in queue):
                waiting_since[served] = Counter()
    took += drained(queue)
    assert not queue
    # then each tenant's items came out in order, and all of them
    for tenant, count in put.items():
        of_tenant = [item for item in took if item[0] == tenant]
        assert of_tenant == [f"{tenant}{i + 1}" for i in range(count)]


def test_images_that_wait_for_a_process_go_out_in_turn() -> None:
    images = ImageQueue(settings(), list)
    images.add([ImageRequest(key, "data:,", tenant="large") for key in range(100)])
    images.add([ImageRequest(key, "data:,", tenant="small") for key in (100, 101)])
    assert images.waiting == 102
    images.fail_waiting(lambda _: TemporaryError("It stops.", "STOPPING"))
    assert [image.key for image in images.take_ended()][:5] == [0, 100, 1, 101, 2]
