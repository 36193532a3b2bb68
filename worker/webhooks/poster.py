"""Posts what is due in the outboxes of a worker's queues, on a few threads."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from clip_worker.quoting import redacted
from worker.webhooks.host_rests import HostRests
from worker.webhooks.sender import UndeliveredError

if TYPE_CHECKING:
    from worker.webhooks.outbox import Outbox
    from worker.webhooks.post import WebhookPost
    from worker.webhooks.schedule import Random, RetrySchedule

logger = logging.getLogger(__name__)

MOST_THREADS = 8
CLAIM_S = 60.0  # beside twice the longest attempt: for a name server, and Redis
Send = Callable[[str, str, bytes], None]


class WebhookPoster:
    """Claims posts, makes them, and settles them. Threads may share it.

    Threads start with the first post that is due. They look when they are woken: by this worker
    when it has written a post, and by its heartbeat when any is due.

    Args:
        send: `WebhookSender.send`.
        schedule: When the next attempt is made.
        timeout_s: Longest attempt, in seconds.
        insist: Calls what it is given until Redis does not fail.
        worker: This worker's name, for dead letters.
        rests: Keeps posts away from hosts that hang.
        now: Unix time in seconds.
        draw: Draws the jitter.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        send: Send,
        schedule: RetrySchedule,
        *,
        timeout_s: float,
        insist: Callable[[Callable[[], bool]], bool],
        worker: str = "worker",
        rests: HostRests | None = None,
        now: Callable[[], float] = time.time,
        draw: Random = random.random,
    ) -> None:
        self._send = send
        self._schedule = schedule
        self._claim_s = CLAIM_S + 2 * timeout_s
        self._insist = insist
        self._worker = worker
        self._rests = rests or HostRests()
        self._now = now
        self._draw = draw
        self._counts: Counter[str] = Counter(posted=0, retried=0, failed=0)
        self._outboxes: list[Outbox] = []
        self._woken: dict[Outbox, None] = {}  # where a thread has to look
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._is_stopping = False
        self._changed = threading.Condition()

    def add(self, outbox: Outbox) -> Callable[[], None]:
        """Post from one more outbox; what it returns is called when something in it is due."""
        with self._changed:
            self._outboxes.append(outbox)
        return partial(self.wake, outbox)

    def wake(self, outbox: Outbox) -> None:
        """Let a thread look for what is due in an outbox."""
        with self._changed:
            self._woken[outbox] = None
            if self._idle >= len(self._woken):
                self._changed.notify()
            elif len(self._threads) < MOST_THREADS and not self._is_stopping:
                name = f"webhooks-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self, timeout_s: float) -> None:
        """Claim nothing more, and wait for so long for what is being posted.

        What is not settled then is posted by another worker, perhaps once more.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def stats(self) -> dict[str, int]:
        """Posts that wait in Redis, and what this worker's attempts came to.

        Raises:
            RedisError: Redis failed.
        """
        with self._changed:
            outboxes = list(self._outboxes)
        return {"waiting": sum(outbox.waiting() for outbox in outboxes), **self.counts()}

    def counts(self) -> dict[str, int]:
        """What this worker's attempts came to: posted, retried, failed."""
        with self._changed:
            return dict(self._counts)

    def post_one(self, outbox: Outbox) -> bool:
        """Post what has been due for longest; False if nothing is due.

        Raises:
            RedisError: Redis failed before anything was posted.
            ValueError: See `Outbox.claim`.
        """
        claim = outbox.claim(self._claim_s)
        if claim is None:
            return False
        if claim.is_more:
            self.wake(outbox)  # for another thread
        event_id, post = claim.event_id, claim.post.claimed(self._now())
        if rest_s := self._rests.ask(post.host):
            self._defer(outbox, event_id, post, rest_s)
            return True
        began = self._now()
        error = self._attempt(event_id, post)
        if error is None:
            self._settle("posted", partial(outbox.remove, event_id))
        else:
            self._failed(outbox, event_id, post.failed(began, self._worker), error)
        return True

    def _attempt(self, event_id: str, post: WebhookPost) -> UndeliveredError | None:
        """Post it once; why that failed, if it did."""
        failure = None
        try:
            self._send(event_id, post.url, post.body.encode())
        except UndeliveredError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  # a bug of ours must not lose the post
            failure = UndeliveredError(f"the worker failed with {type(error).__name__}")
            shown = redacted(str(error), post.url)
            logger.error("Can't post to a webhook: %s (%s)", failure, shown)  # noqa: TRY400  # a traceback may show the URL
        has_hung = failure is not None and failure.has_hung
        (self._rests.hung if has_hung else self._rests.answered)(post.host)
        return failure

    def _failed(
        self, outbox: Outbox, event_id: str, post: WebhookPost, error: UndeliveredError
    ) -> None:
        pause_s = self._schedule.pause_s(
            tried=len(post.attempts),
            trying_s=self._trying_s(post),
            asked_s=error.retry_after_s,
            draw=self._draw,
        )
        if pause_s is None or error.is_final:
            self._bury(outbox, event_id, post, error.reason)
        else:
            self._settle("retried", partial(outbox.retry, event_id, post, pause_s))

    def _defer(self, outbox: Outbox, event_id: str, post: WebhookPost, rest_s: float) -> None:
        """Let a post be due again when its host may have recovered; that is no attempt."""
        if self._trying_s(post) > self._schedule.total_s:
            self._bury(outbox, event_id, post, "its host did not answer other posts either")
        else:
            pause_s = rest_s * (1 + self._draw())
            self._insist(partial(outbox.retry, event_id, post, pause_s))

    def _bury(self, outbox: Outbox, event_id: str, post: WebhookPost, reason: str) -> None:
        letter = post.dead_letter(event_id, reason, self._now())
        if self._settle("failed", partial(outbox.bury, letter)):
            logger.error("Webhook %s became a dead letter: %s", letter.id, letter.reason)

    def _trying_s(self, post: WebhookPost) -> float:
        now = self._now()
        return now - (now if post.since is None else post.since)

    def _settle(self, outcome: str, settle: Callable[[], bool]) -> bool:
        with self._changed:
            self._counts[outcome] += 1
        return self._insist(settle)

    def _serve(self) -> None:
        while (outbox := self._next()) is not None:
            try:
                if self.post_one(outbox):
                    with self._changed:  # more may have come meanwhile; this thread looks
                        self._woken[outbox] = None
            except Exception as error:  # noqa: BLE001  # the heartbeat wakes it again
                logger.warning("Webhooks are posted later than they should: %s", error)

    def _next(self) -> Outbox | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._woken or self._is_stopping)
            self._idle -= 1
            if self._is_stopping:
                return None
            outbox = next(iter(self._woken))  # they take turns
            del self._woken[outbox]
            return outbox
