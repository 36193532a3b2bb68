"""Classifies what a feed yields into a sink, with few images in flight, and in a journal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from clip_worker.bulk.digest import digest_of
from clip_worker.bulk.failures import FailuresFile, failure_record, may_pass
from clip_worker.bulk.in_flight import InFlight
from clip_worker.bulk.journal import Checkpoint, Journal
from clip_worker.bulk.progress import Progress
from clip_worker.bulk.sender import Sender
from clip_worker.client.handle import forget_all
from clip_worker.errors import QueueUnavailableError, ResultTimeoutError

if TYPE_CHECKING:
    from clip_worker.bulk.supply import Supply
    from clip_worker.client.client import Client
    from clip_worker.client.handle import Handle
    from clip_worker.feeds.item import Item
    from clip_worker.sinks.row import Row
    from clip_worker.sinks.sink import Sink

logger = logging.getLogger(__name__)

IN_FLIGHT = 2_000  # images
UPLOAD_BYTES = 64 * 1024 * 1024  # of uploads in flight
AT_A_TIME = 500  # images that are sent in one step
COMMIT_S = 5.0
COMMIT_ROWS = 5_000
WAIT_S = 0.2  # for what arrives while nothing is in flight
LONGEST_WAIT_S = 600.0  # for the next result


class BulkRun:
    """Sends what a supply yields, and writes rows to a sink; can be continued after any crash.

    A commit makes rows durable in the sink first, then in the journal; the results are deleted
    from Redis after that. So a crash in between costs no row, and no computation: the tasks' ids
    are the same again, and their results are still there. Tasks that Redis loses are sent again.

    Args:
        client: Sends the images.
        sink: Where rows go; failures don't.
        journal: An open journal of the run.
        failures: Where failures go.
        options: As for `Client.submit_many`.
        on_progress: Called several times a second, on the thread that runs.
        in_flight: Maximum number of images in flight.
        commit_s: Longest time between commits, in seconds.
        timeout_s: Longest wait for the next result, in seconds; None for no limit.
        sleep: Waits for a number of seconds.
        clock: Monotonic seconds.

    Attributes:
        progress: How far the run is.
    """

    def __init__(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        client: Client,
        sink: Sink,
        journal: Journal,
        failures: FailuresFile,
        *,
        options: Mapping[str, Any],
        on_progress: Callable[[Progress], None] = lambda _progress: None,
        in_flight: int = IN_FLIGHT,
        commit_s: float = COMMIT_S,
        timeout_s: float | None = LONGEST_WAIT_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._journal = journal
        self._failures = failures
        self._sender = Sender(client, options, sleep=sleep, clock=clock)
        self._in_flight = InFlight(in_flight, UPLOAD_BYTES, timeout_s, sleep=sleep, clock=clock)
        self._on_progress = on_progress
        self._commit_s = commit_s
        self._clock = clock
        self._taken: list[Item] = []  # to be sent
        self._rows: list[Row] = []  # since the last commit
        self._ended: list[Handle[Any]] = []  # since the last commit
        self._committed_at = 0.0
        self.progress = Progress(clock=clock)

    def stop(self) -> None:
        """Send no more images: `run` waits for those in flight, commits and returns.

        For signal handlers and other threads.
        """
        self.progress.is_stopping = True

    def run(self, supply: Supply) -> bool:
        """Classify all that a supply yields.

        Returns:
            Whether all of it was done; False if `stop` was called before.

        Raises:
            ResultTimeoutError: No image ended within `timeout_s`.
            QueueUnavailableError: Redis was away for a minute.
            ServiceError: The feed, the sink or the journal failed.
        """
        self._failures.rewrite(self._journal.failures())
        self._sink.open(self._journal.sink_position)
        try:
            supply.open()
            self._run(supply)
        except ResultTimeoutError:
            self._journal.next_round()  # what was lost is not waited for again
            raise
        finally:
            supply.close()
            self._sink.close()
        self._failures.rewrite(self._journal.failures())
        is_finished = self._is_finished(supply)
        if is_finished:
            supply.finish()
        return is_finished

    def _run(self, supply: Supply) -> None:
        self._committed_at = self._clock()
        self.progress.begin(self._journal.done, self._journal.failed)
        while not (self._is_finished(supply) or self.progress.is_stopping) or self._in_flight:
            self._fill(supply)
            if self._in_flight:
                self._collect(supply)
            if self._is_due():
                self._commit(supply)
            self._show(supply)
        if self._journal.sink_position is not None:
            self._commit(supply)
        self._show(supply)

    def _is_finished(self, supply: Supply) -> bool:
        return supply.is_exhausted and not self._taken and not self._in_flight

    def _fill(self, supply: Supply) -> None:
        """Send what there is room for."""
        while self._may_send() and (room := self._in_flight.room) > 0:
            if not self._taken and not supply.is_exhausted:
                wait_s = 0.0 if self._in_flight or self._rows else WAIT_S
                self._taken = supply.take(min(room, AT_A_TIME), wait_s)
            count = self._in_flight.affordable(self._taken)
            if count == 0:
                break
            self._send(self._taken[:count], supply)
            del self._taken[:count]

    def _may_send(self) -> bool:
        return not self.progress.is_stopping and len(self._rows) < COMMIT_ROWS

    def _send(self, items: list[Item], supply: Supply) -> None:
        if self._journal.sink_position is None:
            self._commit(supply)  # so that after a crash the sink knows its rows
        prefix = f"{self._journal.run_id}-{self._journal.round}-"
        sent, unsent = self._sender.send(items, prefix)
        self._in_flight.add(sent)
        self._note(unsent, supply)

    def _collect(self, supply: Supply) -> None:
        ended = self._in_flight.wait()
        self._ended += [each.handle for each in ended]
        self._note([each.row() for each in ended], supply)
        if lost := self._in_flight.take_lost():
            logger.warning("Redis has lost %d tasks in flight; they are sent again.", len(lost))
            self._taken += [each.item for each in lost]

    def _note(self, rows: list[Row], supply: Supply) -> None:
        if succeeded := [row for row in rows if row.outcome.error is None]:
            refused = {row.item.key: row for row in self._sink.write(succeeded)}
            rows = [refused.get(row.item.key, row) for row in rows]
        self._rows += rows
        self.progress.note(rows, retried=supply.is_retry)

    def _is_due(self) -> bool:
        if not self._rows:
            return False
        is_late = self._clock() - self._committed_at >= self._commit_s
        return is_late or len(self._rows) >= COMMIT_ROWS or not self._in_flight

    def _commit(self, supply: Supply) -> None:
        rows, self._rows = self._rows, []
        items = [row.item for row in rows]
        failed = {
            digest_of(row.item.key): (may_pass(row.outcome.error), failure_record(row))
            for row in rows
            if row.outcome.error is not None
        }
        succeeded = [digest_of(row.item.key) for row in rows if row.outcome.error is None]
        position = self._sink.commit()
        self._journal.commit(Checkpoint(supply.end(items), position, succeeded, failed))
        self._failures.append(record for _, record in failed.values())
        self._forget()
        supply.committed(items)
        self._committed_at = self._clock()

    def _forget(self) -> None:
        """Delete results that are no longer needed; while Redis is away, they expire."""
        ended = iter(self._ended)
        with suppress(QueueUnavailableError):
            while some := list(islice(ended, AT_A_TIME)):
                forget_all(some)
        self._ended = []

    def _show(self, supply: Supply) -> None:
        self.progress.total = supply.total
        self.progress.in_flight = len(self._in_flight)
        self.progress.sample()
        self._on_progress(self.progress)
