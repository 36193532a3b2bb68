"""What comes out of a batch, and who takes it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Result = TypeVar("Result")
Key_contra = TypeVar("Key_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Batched(Generic[Result]):
    """One item's result and the story of its batch.

    Attributes:
        value: What the callable gave for this item.
        wait_s: From `submit` until the batch was started, in seconds.
        run_s: Run time of the callable, in seconds.
        batch_size: Items in the batch.
    """

    value: Result
    wait_s: float
    run_s: float
    batch_size: int


class Receiver(Protocol[Key_contra, Result]):
    """Where results go, those of a batch together. It is called on the batch's runner."""

    def accepts(self, key: Key_contra) -> bool:
        """Whether the item is still to be run; asked once, before it gets a place in a batch."""

    def may_run(self, key: Key_contra) -> bool:
        """The same, asked as the batch begins; it may take its time, and no stops the item."""

    def take(self, keys: Sequence[Key_contra], results: Sequence[Batched[Result]]) -> None:
        """Take the results of those items of a batch that are this receiver's."""

    def fail(self, keys: Sequence[Key_contra], error: BaseException) -> None:
        """Take what the batch, or the batcher, failed with instead; it may come after `take`."""


class Futures(Generic[Result]):
    """Gives each result to the future that stands for it."""

    def accepts(self, key: Future[Batched[Result]]) -> bool:
        """Unless it was cancelled; from here on it can't be."""
        return key.set_running_or_notify_cancel()

    def may_run(self, key: Future[Batched[Result]]) -> bool:
        """Always."""
        return not key.done()

    def take(
        self, keys: Sequence[Future[Batched[Result]]], results: Sequence[Batched[Result]]
    ) -> None:
        """End each with its result."""
        for future, result in zip(keys, results, strict=True):
            with contextlib.suppress(InvalidStateError):  # `stop` didn't wait for it
                future.set_result(result)

    def fail(self, keys: Sequence[Future[Batched[Result]]], error: BaseException) -> None:
        """End each with the error."""
        for future in keys:
            with contextlib.suppress(InvalidStateError):  # it has just ended by itself
                future.set_exception(error)
