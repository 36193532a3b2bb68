r"""A message that this process holds, the lease that it is held under, and its crashes.

In Redis a held message is an entry of its worker's hash: where it came from, how often its worker
crashed, a line for each crash, and the message. Example:
`b"clip\n1\n1763730000.5 1 gpu-3\n{...}"` is a message of the list `clip` on which worker `gpu-3`
was working, and on nothing else, when it died.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from clip_worker.contract.message_reader import Envelope
from clip_worker.contract.tenants import TENANT_HEADER
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_worker.contract.message_body import Arguments
    from clip_worker.errors import ClipWorkerError
    from worker.delivery.redis_queue import RedisQueue
    from worker.tracing.message_trace import MessageTrace
    from worker.webhooks.post import WebhookPost

Uses: TypeAlias = "Sequence[tuple[str, str]]"  # keys in Redis, each with a user of it

UNREAD = Envelope()
TOGETHER_UNKNOWN = 0  # a crowd, whose size changes all the time
# One that goes on while the machine sleeps: on Linux `time.monotonic` does not, on macOS this does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock() -> float:
    """Seconds, monotonic, a suspended machine's included."""
    return time.clock_gettime(_CLOCK)


@dataclass(eq=False)
class Lease:
    """The claim of one worker process on all messages that it has taken from one queue.

    Once it has lapsed, its messages are reclaimed by other workers and it can't be renewed: the
    worker goes on under a new one, and Redis refuses what it ends under the old one.

    Attributes:
        queue: The queue.
        ends_at: When it lapses at the earliest, by `lease_clock`; each renewal moves it.
        name: In Redis.
        is_new: Whether Redis does not know it yet.
        is_lost: Whether it is known to have lapsed.
    """

    queue: RedisQueue
    ends_at: float
    name: str = field(default_factory=lambda: secrets.token_hex(6))
    is_new: bool = True
    is_lost: bool = False


@dataclass(frozen=True)
class Crash:
    """A worker's death while it worked on a message.

    Attributes:
        at: Unix time in seconds when that work began.
        together: How many messages it worked on at the time, this one included; 0 for a crowd.
        worker: Name of the worker.
    """

    at: float
    together: int
    worker: str

    def encode(self) -> str:
        """One line."""
        return f"{self.at:.3f} {self.together} {self.worker}"

    @classmethod
    def decode(cls, line: bytes) -> Crash:
        """What `encode` wrote."""
        at, together, worker = line.decode(errors="replace").split(" ", 2)
        return cls(float(at), int(together), worker)


@dataclass(slots=True, eq=False)
class Delivery:
    """A message in flight, from its taking to its end.

    A delivery is identified by itself and not by its task's id: `Task.retry` and `Task.replace`
    publish the next message of an id before the last one is acknowledged, so two of them may be in
    flight.

    Attributes:
        lease: What it was taken under.
        tag: Its name in Redis; another delivery of the same message has another one.
        crashes: What it has been through, newest first.
        message: As the producer wrote it.
        envelope: The same, read.
        size: Units of work that are left in it; each takes up room.
        waits_for_eta: Whether it waits for its ETA; then it takes no room.
        in_celery: Whether Celery runs it.
        waits_in_celery: Whether Celery has it, and has not given it to its pool.
        begun: Whether this worker works on it.
        ended: Whether its end has been decided; only the first end counts.
        taken_at: `time.monotonic()`.
        progressed_at: `time.monotonic()` of the last progress, or when it was taken.
        time_out: Ends it after too long without progress; None to let it fail.
        event_body: What its webhook gets, of a task that Celery runs.
        outcome: How it ended, once that is decided; empty for a task that Celery runs.
        code: Of the error that it ended with.
        trace: What is traced of it: None before that is known, False if nothing is.
    """

    lease: Lease
    tag: str
    crashes: tuple[Crash, ...]
    message: bytes
    envelope: Envelope = UNREAD
    size: int = 1
    waits_for_eta: bool = False
    in_celery: bool = False
    waits_in_celery: bool = False
    begun: bool = False
    ended: bool = False
    taken_at: float = field(default_factory=time.monotonic)
    progressed_at: float = field(default_factory=time.monotonic)
    time_out: Callable[[ClipWorkerError], None] | None = None
    event_body: str = ""
    outcome: str = ""
    code: str = ""
    trace: MessageTrace | Literal[False] | None = None

    @classmethod
    def decode(cls, lease: Lease, tag: bytes, entry: bytes) -> Delivery:
        """A delivery whose message is not read yet, from an entry of the worker's hash."""
        _source, count, rest = entry.split(b"\n", 2)
        *lines, message = rest.split(b"\n", int(count))
        return cls(lease, tag.decode(), tuple(map(Crash.decode, lines)), message)

    @property
    def queue(self) -> RedisQueue:
        """The queue that it came from."""
        return self.lease.queue

    @property
    def arguments(self) -> Arguments:
        """Of the task."""
        return self.envelope.arguments

    @property
    def tenant(self) -> str:
        """Whose turn it takes; empty for none."""
        tenant = self.envelope.headers.get(TENANT_HEADER)
        return tenant if isinstance(tenant, str) else ""

    @property
    def id(self) -> str:
        """Celery's task id, or the tag of a message that has none."""
        return self.envelope.id or self.tag

    @property
    def name(self) -> tuple[str, str]:
        """The task's name and its id, for the log: one line, whatever a producer wrote."""
        return _shown(self.envelope.task or "without a name"), _shown(self.id)

    def log_fields(self, code: str | None = None) -> dict[str, str]:
        """The task, for a record of the log that is about it: see `worker.logs.json_format`."""
        fields = {"task_id": self.id, "queue": self.queue.name}
        return fields | {"code": code} if code else fields

    def progress(self) -> None:
        """Note that something of it was done just now."""
        self.progressed_at = time.monotonic()


class Ack(NamedTuple):
    """A delivery to acknowledge, with its result.

    Attributes:
        delivery: Its end has been decided.
        key: Where its result goes; empty for none.
        result: As Celery's result backend stores it.
        ttl_s: How long it is kept, in seconds; None, and at most, as the queue keeps results.
        uses: Keys that the task used and the user that it was of each; a key is deleted with its
            last user.
        post: What is posted to the task's webhook, if it has one.
    """

    delivery: Delivery
    key: str = ""
    result: str = ""
    ttl_s: int | None = None
    uses: Uses = ()
    post: WebhookPost | None = None


def _shown(text: str) -> str:
    return text if text.isprintable() else quote(text)
