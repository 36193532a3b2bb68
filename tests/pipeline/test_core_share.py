"""How many threads torch uses, seen from inside forward passes that the test holds."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.pipeline_bench import LIMIT_S, Bench, jpeg
from support.tiny_clip import engine_around, tiny_state

from clip_engine.model import build_model
from worker.pipeline.core_share import CoreShare

if TYPE_CHECKING:
    from collections.abc import Iterator

CORES = 6


class HeldPasses:
    """The image tower's forward passes; each is held until the test ends it."""

    def __init__(self) -> None:
        self._begun: queue.Queue[tuple[int, threading.Event]] = queue.Queue()
        self._ends: list[threading.Event] = []

    def __call__(self, *_: object) -> None:
        """Called as a pass begins, on its thread."""
        end = threading.Event()
        self._begun.put((torch.get_num_threads(), end))
        assert end.wait(LIMIT_S)

    def threads(self) -> int:
        """Of torch, in the next pass."""
        threads, end = self._begun.get(timeout=LIMIT_S)
        self._ends.append(end)
        return threads

    def end_first(self) -> None:
        self._ends.pop(0).set()

    def end_all(self) -> None:
        while self._ends:
            self.end_first()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def passes() -> HeldPasses:
    return HeldPasses()


@pytest.fixture
def bench(passes: HeldPasses) -> Iterator[Bench]:
    """Three runners, batches of one."""
    model = build_model(tiny_state())
    with ExitStack() as stack:
        stack.callback(model.visual.register_forward_pre_hook(passes).remove)
        made = Bench(engine_around(model, buckets=(1,)), runners=3, cores=CORES)
        stack.callback(made.close)
        stack.callback(passes.end_all)
        yield made


def test_a_lone_picture_has_all_cores_and_each_further_one_its_share(
    bench: Bench, passes: HeldPasses
) -> None:
    first = bench.submit(jpeg(1))
    assert passes.threads() == CORES
    # when more begin beside it
    others = [bench.submit(jpeg(2))]
    assert passes.threads() == CORES // 2
    others.append(bench.submit(jpeg(3)))
    assert passes.threads() == CORES // 3
    # and one after it, while two run
    others.append(bench.submit(jpeg(4)))
    passes.end_first()
    assert passes.threads() == CORES // 3
    passes.end_all()
    for each in [first, *others]:
        assert each.result(LIMIT_S).predictions


def test_new_labels_of_a_lone_picture_have_all_cores(bench: Bench, passes: HeldPasses) -> None:
    seen: list[int] = []
    model: Any = bench.engine.model
    with pytest.MonkeyPatch.context() as patch:
        encode = model.encode_text
        patch.setattr(
            model, "encode_text", lambda *a: (seen.append(torch.get_num_threads()), encode(*a))[1]
        )
        done = bench.submit(jpeg(1))
        assert passes.threads() == CORES
        assert seen == [CORES]
        passes.end_all()
        done.result(LIMIT_S)


@pytest.mark.parametrize(("rank", "threads"), [(1, 6), (2, 3), (4, 1), (64, 1)])
def test_a_thread_of_a_rank_takes_no_more_than_that_part(rank: int, threads: int) -> None:
    with CoreShare(CORES).forward_pass(rank):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 1


def test_other_threads_keep_what_they_have_and_a_new_one_can_use_one() -> None:
    share = CoreShare(CORES)
    with ThreadPoolExecutor(1) as other, ThreadPoolExecutor(1) as new:
        other.submit(torch.get_num_threads).result(LIMIT_S)  # its own from now on
        other.submit(torch.set_num_threads, 2).result(LIMIT_S)
        with share.forward_pass():
            assert other.submit(torch.get_num_threads).result(LIMIT_S) == 2
            new.submit(share.use_one).result(LIMIT_S)
            assert new.submit(torch.get_num_threads).result(LIMIT_S) == 1
            assert torch.get_num_threads() == CORES


def test_without_cores_to_share_torchs_setting_stays() -> None:
    torch.set_num_threads(3)
    share = CoreShare(None)
    with share.forward_pass():
        assert torch.get_num_threads() == 3
    share.use_one()
    assert torch.get_num_threads() == 3


def test_a_pass_that_fails_gives_its_cores_back() -> None:
    share = CoreShare(CORES)
    with pytest.raises(ValueError, match="bad"), share.forward_pass():
        raise ValueError("bad")
    with share.forward_pass():
        assert torch.get_num_threads() == CORES
