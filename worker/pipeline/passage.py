"""One picture on its way through a worker, from its bytes on: gate, decode, batch, score.

Each stage runs where it belongs and hands on to the next, so a passage is in one stage at a time
and needs no lock. Its future ends once, whichever comes first: the answer, an error, or the
pipeline giving it up; a stage that finds it ended stops there. How it comes by its bytes is
`worker.pipeline.errand`.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING

from worker.contract import Classification, Prediction, Timing
from worker.errors import ServiceError
from worker.pipeline.errand import Errand, check_deadline
from worker.pipeline.error_translation import translate
from worker.pipeline.job import Job
from worker.pipeline.line import Line
from worker.pipeline.thread_pool import Pool
from worker.quoting import redacted, shown_uri

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine import engine
    from worker.pipeline.batch_result import Batched

logger = logging.getLogger(__name__)


class Passage(Errand):
    """One job's way, and the future that its caller waits on.

    Args:
        line: Where it goes along.
        job: What is asked.
        on_end: Told once the future has ended.
    """

    def __init__(self, line: Line, job: Job, on_end: Callable[[Passage], None]) -> None:
        super().__init__(line, job)
        self.future: Future[Classification] = Future()
        self.future.set_running_or_notify_cancel()  # to cancel it would not stop the stages
        self._on_end = on_end
        self._decode_s = 0.0

    @property
    def ended(self) -> bool:
        """Whether the future has ended."""
        return self.future.done()

    def fail(self, error: BaseException) -> None:
        """End the future with an error of `worker.errors`, unless it has ended."""
        if self.ended:
            return
        translated = translate(error, self.job.image)
        if isinstance(translated, ServiceError):
            self._log(error)
        else:
            _forget_frames(translated)
        # What led to it may quote the URI, and Celery stores and logs all that hangs on an error.
        translated.__cause__ = translated.__context__ = None
        try:
            self.future.set_exception(translated)
        except InvalidStateError:  # somebody was quicker
            return
        self._end()

    def _end(self) -> None:
        self.data = b""
        self.room.release()
        self._on_end(self)

    def _log(self, error: BaseException) -> None:
        image = self.job.image
        trace = redacted("".join(traceback.format_exception(error)), image)
        logger.error("Picture %s failed:\n%s", shown_uri(image), trace.rstrip())

    def _succeed(self, answer: Classification) -> None:
        try:
            self.future.set_result(answer)
        except InvalidStateError:
            return
        self._end()

    def _hand_on(self, pool: Pool, stage: Callable[[], None]) -> None:
        """Run the next stage in a pool; whatever goes wrong there ends the job's future."""
        try:
            pool.submit(self._guarded, stage)
        except RuntimeError as error:  # the pool has been shut down
            self.fail(error)

    def _guarded(self, stage: Callable[[], None]) -> None:
        if self.ended:
            return
        try:
            stage()
        except BaseException as error:  # noqa: BLE001  # the waiter must hear of it, whatever it is
            self.fail(error)

    def fetched(self) -> None:
        """Ask the gate."""
        if self.ended:
            self.data = b""
            return
        self.room.hold_back(back=True)
        self._ask_gate(self._go)

    def wait_for_room(self) -> None:
        """Ask the gate first: whoever waits for room can go all the way once there is some.

        Else those whom the gate holds back could take up all the room, and the one that they are
        held back for would wait for it.
        """
        self._ask_gate(self.queue_for_room)

    def _ask_gate(self, go: Callable[[], None]) -> None:
        try:
            self.line.gate.enter(self.job, go, self.fail)
        except BaseException as error:  # noqa: BLE001  # as above
            self.fail(error)

    def _go(self) -> None:
        self.room.hold_back(back=False)
        self._hand_on(self.line.decode_pool, self._decode)

    def _decode(self) -> None:
        self.line.gate.check(self.job)
        check_deadline(self.job, self.line.now(), "its picture was decoded")
        data, self.data = self.data, b""  # a waiting picture holds its pixels only
        reservation = self.room.take()
        if reservation is None:  # it has just ended
            return
        try:
            pixels = self._pixels(data)  # uint8 [3, R, R]
        except BaseException as error:
            del data
            reservation.release()
            if not isinstance(error, MemoryError):
                raise
            self.run_out_of_memory("decoded")
            return
        reservation.settle(pixels.nbytes)
        self.keep(reservation)
        self.line.batcher.submit_for(self.line.scoring, self, pixels, within_s=self._left_s())

    def _pixels(self, data: bytes) -> Tensor:
        line, thread = self.line, threading.get_ident()
        began = line.tally.decoding

        def wait(size_bytes: int) -> None:
            del began[thread]  # to wait for memory is not to hang
            reserve(size_bytes)
            began[thread] = line.clock()

        with line.budget.decoding(len(data)) as reserve:
            began[thread] = line.clock()
            try:
                pixels = line.engine.prepare(data, wait)
            finally:
                self._decode_s = line.clock() - began.pop(thread, line.clock())
        if not self.held_up:
            line.tally.prepared(self.fetch_s + self._decode_s)
        return pixels

    def _left_s(self) -> float | None:
        deadline = self.job.deadline
        return None if deadline is None else deadline - self.line.now()

    def may_run(self) -> bool:
        """Whether the model may have it now; if not, the future has ended."""
        try:
            self.line.gate.check(self.job)
        except BaseException as error:  # noqa: BLE001  # as above
            self.fail(error)
        return not self.ended

    def answer(
        self, batched: Batched[Tensor], predictions: Sequence[engine.Prediction], score_s: float
    ) -> None:
        """End the future with what the scoring gave; called by `worker.pipeline.score_stage`."""
        job, identity = self.job, self.line.engine.identity
        kept = tuple(
            Prediction(label=p.label, probability=p.probability, index=p.index)
            for p in predictions
            if p.probability >= job.threshold
        )
        self._succeed(
            Classification(
                predictions=kept,
                model=identity.name,
                model_digest=identity.digest,
                timing=self._timing(batched, score_s),
                embedding=tuple(batched.value.tolist()) if job.return_embedding else None,
            )
        )

    def _timing(self, batch: Batched[Tensor], score_s: float) -> Timing:
        return Timing(
            queue=self.job.queue_s,
            labels=self.labels_s,
            fetch=self.fetch_s,
            decode=self._decode_s,
            batch_wait=batch.wait_s,
            forward=batch.run_s,
            score=score_s,
            batch_size=batch.batch_size,
        )


def _forget_frames(error: BaseException) -> None:
    """Let go of what an expected error's frames hold: the picture's bytes, and the passage itself.

    The passage's future holds the error, so that knot would last until the garbage collector comes.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
