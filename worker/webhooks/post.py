"""What is to be posted to a webhook, as it waits in Redis."""

from __future__ import annotations

import secrets
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from clip_worker.contract.results import Failure
from clip_worker.contract.webhooks import failure_body
from clip_worker.errors import ClipWorkerError
from clip_worker.quoting import quote, redacted, shown_uri
from clip_worker.redis.dead_letters import UNDELIVERED, DeadLetter, Incident

MOST_REASON_CHARS = 500


class WebhookPost(BaseModel):
    """The end of a task, for its webhook.

    Attributes:
        url: Where it is posted.
        body: What is posted, as JSON.
        task: The task's name.
        task_id: The task's id.
        since: Unix time in seconds at which it was first claimed; None if it was not yet.
        attempts: Those that failed, oldest first.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)  # a URL may hold a secret

    url: str
    body: str
    task: str
    task_id: str
    since: float | None = None
    attempts: tuple[Incident, ...] = ()

    def encode(self) -> str:
        """It as JSON, as it is stored in Redis."""
        return self.model_dump_json()

    @classmethod
    def decode(cls, stored: bytes) -> Self:
        """What `encode` wrote.

        Raises:
            ValueError: It is something else; the message does not show it.
        """
        try:
            return cls.model_validate_json(stored)
        except ValidationError as error:
            raise ValueError(
                "a stored post can't be read, perhaps from another version of clip-worker"
            ) from error

    @property
    def host(self) -> str:
        """Scheme, host and port of the URL."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def claimed(self, at: float) -> Self:
        """It once it was claimed, at a Unix time in seconds."""
        return self if self.since is not None else self.model_copy(update={"since": at})

    def failed(self, at: float, worker: str) -> Self:
        """It after one more failed attempt, which began at a Unix time in seconds."""
        attempt = Incident(kind="post", at=at, worker=worker)
        return self.model_copy(update={"attempts": (*self.attempts, attempt)})

    def dead_letter(self, event_id: str, reason: str, now: float) -> DeadLetter:
        """It as a dead letter, which posts it again when it is replayed.

        Args:
            event_id: Its id.
            reason: Why the last attempt failed, to complete a sentence.
            now: Unix time in seconds.
        """
        count = len(self.attempts)
        return DeadLetter(
            id=event_id,
            task=self.task,
            reason=f"The result of task {quote(self.task_id)} was not delivered to the webhook "
            f"{shown_uri(self.url)} in {count} attempt{'' if count == 1 else 's'}: {reason}.",
            code=UNDELIVERED,
            died_at=now,
            history=self.attempts,
            message=self.model_copy(update={"since": None, "attempts": ()}).encode(),
        )


def new_event_id() -> str:
    """An id for an event: letters and digits, as it becomes part of what is signed."""
    return f"msg_{secrets.token_hex(12)}"


def error_body(task_id: str, error: BaseException) -> str:
    """The body for a task that raised an exception."""
    if isinstance(error, ClipWorkerError):
        return failure_body(task_id, Failure.of(error))
    message = redacted(str(error))[:MOST_REASON_CHARS]
    failure = Failure(type=type(error).__name__, code="INTERNAL", message=message)
    return failure_body(task_id, failure)


def revoked_body(task_id: str, reason: str) -> str:
    """The body for a task that was not run, for a reason of Celery's: `revoked` or `expired`."""
    message = "The task expired before it ran." if reason == "expired" else "The task was revoked."
    failure = Failure(type="TaskRevokedError", code=reason.upper(), message=message)
    return failure_body(task_id, failure)
