"""A batcher whose runs a test holds and ends by hand; time is a counter."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from support.waiting import wait_until

from worker.pipeline.batcher import Batch, Batcher
from worker.pipeline.image_task import ImageTask, TaggingRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S = 20.0  # a test that waits this long has failed
UNIX = 1_000_000.0  # Unix time when the clock shows 0


class Held:
    """A batcher whose runs the test holds."""

    def __init__(self, *, max_batch: int = 4, **options: Any) -> None:
        self.max_batch = max_batch
        self.now_s = 100.0
        self.looked = threading.Semaphore(0)  # at the clock
        self.done: list[str] = []
        self.failed: list[tuple[str, BaseException]] = []
        self._begun: queue.Queue[Batch] = queue.Queue()
        self._ends: queue.Queue[BaseException | None] = queue.Queue()
        self._ended = threading.Semaphore(0)
        self.batcher = Batcher(
            self._run,
            self._fail,
            max_batch=lambda: self.max_batch,
            **{"clock": self._clock, "now": lambda: UNIX + self.now_s} | options,
        )
        self.batcher.start()

    def _clock(self) -> float:
        self.looked.release()
        return self.now_s

    def _run(self, batch: Batch) -> None:
        self._begun.put(batch)
        error = self._ends.get(timeout=LIMIT_S)
        if error is not None:
            raise error
        self.done += names(batch)
        self._ended.release()

    def _fail(self, tasks: Sequence[ImageTask], error: BaseException) -> None:
        self.failed += [(task.image, error) for task in tasks]
        self._ended.release()

    def add(self, images: str, within_s: float | None = None, message: Any = None) -> None:
        self.batcher.add([self.task(image, within_s, message) for image in images])

    def task(self, image: str, within_s: float | None = None, message: Any = None) -> ImageTask:
        deadline = None if within_s is None else UNIX + self.now_s + within_s
        request = TaggingRequest(("a",), ("{}",), 1, deadline=deadline)
        return ImageTask(image, request, None, message, prepared_s=self.now_s)  # type: ignore[arg-type]  # no owner

    def begun(self) -> str:
        """The images of the next batch, once it has begun."""
        return "".join(names(self.batch()))

    def batch(self) -> Batch:
        return self._begun.get(timeout=LIMIT_S)

    @property
    def idle(self) -> bool:
        return self._begun.empty()

    def waits_after(self, images: str, within_s: float | None = None) -> bool:
        """Add tasks; whether the runner then looks at the clock and runs nothing."""
        while self.looked.acquire(blocking=False):
            pass
        self.add(images, within_s)
        assert self.looked.acquire(timeout=LIMIT_S)
        return self.idle

    def end(self, error: BaseException | None = None) -> None:
        """End one run, and wait until it has ended."""
        self._ends.put(error)
        assert self._ended.acquire(timeout=LIMIT_S)

    def until_idle(self, runners: int) -> None:
        wait_until(lambda: len(self.batcher._idle) == runners)

    def close(self) -> None:
        for _ in range(20):
            self._ends.put(None)
        self.batcher.stop(LIMIT_S)


def names(batch: Batch) -> list[str]:
    return [task.image for task in batch.tasks]
