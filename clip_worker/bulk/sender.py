"""Sends the items of a bulk run, each as a task whose id derives from the run and its key."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from clip_worker.bulk.digest import digest_of
from clip_worker.bulk.failures import BAD_ROW
from clip_worker.client.image_file import REDIS_MAX_BYTES, read_image
from clip_worker.contract.results import Classification, Failure, Outcome
from clip_worker.errors import (
    ClipWorkerError,
    ImageUnavailableError,
    InvalidRequestError,
    TemporaryError,
)
from clip_worker.quoting import quote, shown_uri
from clip_worker.sinks.row import Row

if TYPE_CHECKING:
    from pathlib import Path

    from clip_worker.client.client import Client
    from clip_worker.client.handle import Handle
    from clip_worker.feeds.item import Item

PATIENCE_S = 60.0  # how long Redis may be away or full; a failover takes half of that
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SentItem:
    """An item that was sent.

    Attributes:
        item: The item.
        handle: Of its task.
        uri: Of the image, as its task has it.
        size: Bytes that were uploaded for it.
    """

    item: Item
    handle: Handle[Classification]
    uri: str
    size: int

    def row(self) -> Row:
        """The row of an item whose task has ended."""
        try:
            outcome = Outcome(status="ok", result=self.handle.get(0))
        except ClipWorkerError as error:
            outcome = named(failed(error), self.uri, self.item.image)
        return Row(self.item, outcome)


class Sender:
    """Uploads local files and sends tasks; while Redis is away, it tries again for a minute.

    Args:
        client: Sends them.
        options: As for `Client.submit_many`.
        sleep: Waits for a number of seconds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        client: Client,
        options: Mapping[str, Any],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._options = dict(options)
        self._sleep = sleep
        self._clock = clock

    def send(self, items: Sequence[Item], prefix: str) -> tuple[list[SentItem], list[Row]]:
        """Send items.

        Args:
            items: The items.
            prefix: Of their tasks' ids.

        Returns:
            Those that were sent, or had been sent before under these ids; and the rows of those
            that can't be sent.

        Raises:
            TemporaryError: Redis can't be reached, or is full.
        """
        ready: list[tuple[Item, str, int]] = []
        rows: list[Row] = []
        for item in items:
            try:
                ready.append((item, *self._uri(item)))
            except (ImageUnavailableError, InvalidRequestError) as error:
                rows.append(Row(item, failed(error)))
        try:
            return self._submit(ready, prefix), rows
        except InvalidRequestError:
            return self._one_by_one(ready, prefix, rows)

    def _uri(self, item: Item) -> tuple[str, int]:
        if item.fault:
            raise InvalidRequestError(item.fault, BAD_ROW)
        if item.path is None:
            return item.image, 0
        _check_regular(item.path, item.image)
        # The worker decides what is too large for it.
        data = read_image(item.path, item.image, REDIS_MAX_BYTES)
        return self._patiently(lambda: self._client.upload(data, name=item.image)), len(data)

    def _submit(self, ready: Sequence[tuple[Item, str, int]], prefix: str) -> list[SentItem]:
        requests: list[Any] = [
            {"image": uri, "task_id": f"{prefix}{digest_of(item.key).hex()}"}
            for item, uri, _ in ready
        ]
        handles = self._patiently(lambda: self._client.submit_many(requests, **self._options))
        return [
            SentItem(item, handle, uri, size)
            for (item, uri, size), handle in zip(ready, handles, strict=True)
        ]

    def _one_by_one(
        self, ready: Sequence[tuple[Item, str, int]], prefix: str, rows: list[Row]
    ) -> tuple[list[SentItem], list[Row]]:
        """Find those that are invalid: where one is, `submit_many` sends none."""
        sent: list[SentItem] = []
        for each in ready:
            try:
                sent += self._submit([each], prefix)
            except InvalidRequestError as error:
                message = error.message.removeprefix("Request 0: ")
                rows.append(Row(each[0], failed(type(error)(message, error.code))))
        return sent, rows

    def _patiently(self, call: Callable[[], Result]) -> Result:
        end, pause_s = self._clock() + PATIENCE_S, FIRST_PAUSE_S
        while True:
            try:
                return call()
            except TemporaryError:
                if self._clock() >= end:
                    raise
            self._sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


def _check_regular(path: Path, name: str) -> None:
    """Refuse devices and pipes, which a table may name: reading one may take forever."""
    with suppress(OSError, ValueError):  # then it can't be read either, which has a sentence
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageUnavailableError(f"{quote(name)} is not a regular file.", "READ_FAILED")


def failed(error: ClipWorkerError) -> Outcome:
    """The outcome of an image that has failed."""
    return Outcome(status="error", error=Failure.of(error))


def named(outcome: Outcome, uri: str, name: str) -> Outcome:
    """An outcome whose error shows an upload by its file's name."""
    if outcome.error is None or uri == name:
        return outcome
    message = outcome.error.message.removeprefix(f"{shown_uri(uri)}: ")
    message = message.replace(shown_uri(uri), quote(name))
    error = outcome.error.model_copy(update={"message": message})
    return outcome.model_copy(update={"error": error})
