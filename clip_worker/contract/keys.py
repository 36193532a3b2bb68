"""Names of Redis keys: queues, their dead letters, results, uploads and label sets."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "clip-worker"
# Not "celery": there a backend's own workers would take our tasks, and answer `NotRegistered`.
DEFAULT_QUEUE = "clip"
RESULT_PREFIX = "celery-task-meta-"  # of the keys under which Celery stores results
LABEL_SETS = f"{PREFIX}:label-sets"  # hash, name of a label set to its versions, as JSON
NEW_LABEL_SETS = f"{PREFIX}:new-label-sets"  # stream: the versions that were stored last
# kombu puts a message of priority n into the list of the nearest step below n; 0 is most urgent.
PRIORITY_STEPS = (0, 3, 6, 9)
PRIORITY_SEPARATOR = "\x06\x16"


def upload_key(digest: str) -> str:
    """String: the bytes of an upload, by their SHA-256."""
    return f"{PREFIX}:upload:{digest}"


def upload_users_key(digest: str) -> str:
    """Set: the tasks, and the claims of clients, for which an upload is kept."""
    return f"{upload_key(digest)}:users"


def label_set_key(name: str) -> str:
    """String: the newest version of a label set, or one of its versions (`animals@3`)."""
    return f"{PREFIX}:label-set:{name}"


def text_features_key(space: str) -> str:
    """Hash: features of labels that the workers with one model share."""
    return f"{PREFIX}:text-features:{space}"


def text_leases_key(space: str) -> str:
    """Sorted set, a label that a worker encodes to the Unix time at which others may do it."""
    return f"{text_features_key(space)}:leases"


@dataclass(frozen=True)
class QueueKeys:
    """The keys of one Celery queue.

    Attributes:
        queue: Name of the queue, and of the list that producers push to.
    """

    queue: str

    @property
    def lists(self) -> tuple[str, ...]:
        """The lists that producers push to, the most urgent first."""
        steps = (f"{self.queue}{PRIORITY_SEPARATOR}{step}" for step in PRIORITY_STEPS[1:])
        return (self.queue, *steps)

    @property
    def arrived(self) -> tuple[str, ...]:
        """For each of `lists`, the list to which a waiting worker moves a message."""
        return tuple(self._named(f"arrived:{step}") for step in PRIORITY_STEPS)

    @property
    def tenant_base(self) -> str:
        """What the keys of the tenants' messages begin with."""
        return self._named("tenant")

    @property
    def tenants(self) -> str:
        """List: the tenants that have waiting messages; the last one's turn is next."""
        return f"{self.tenant_base}s"

    @property
    def tenants_arrived(self) -> str:
        """List: tenants whose turn is before that of all others, as a waiting worker moved them."""
        return f"{self.tenant_base}s-arrived"

    @property
    def tenants_waiting(self) -> str:
        """Sorted set: a tenant to its number of waiting messages, and `*` to that of all."""
        return f"{self.tenant_base}s-waiting"

    def tenant(self, name: str, step: int = 0) -> str:
        """List: a tenant's messages of one step of priority."""
        return f"{self.tenant_base}:{step}:{name}"

    @property
    def suspects(self) -> str:
        """List: entries whose worker died while it was working on them."""
        return self._named("returned")

    @property
    def leases(self) -> str:
        """Sorted set, a lease's name to the Unix time at which it lapses."""
        return self._named("workers")

    def unacked(self, lease: str) -> str:
        """Hash, tag to entry: what is in flight under a lease."""
        return self._named(f"unacked:{lease}")

    def started(self, lease: str) -> str:
        """Hash, tag to the line that is added to the entry's history if the worker dies."""
        return self._named(f"started:{lease}")

    @property
    def unknown(self) -> str:
        """Sorted set, id of a task that a worker did not know to the Unix time of that."""
        return self._named("unknown")

    def sent(self, task_id: str) -> str:
        """String: a task was sent under an id that its producer chose."""
        return self._named(f"sent:{task_id}")

    @property
    def tick(self) -> str:
        """String: Unix time at which a worker last looked for lapsed leases."""
        return self._named("tick")

    @property
    def webhooks(self) -> str:
        """Sorted set, id of a webhook's post to the Unix time at which it is due."""
        return self._named("webhooks")

    @property
    def webhook_posts(self) -> str:
        """Hash, id of a webhook's post to what is posted, and where."""
        return self._named("webhook-posts")

    @property
    def reports(self) -> str:
        """Sorted set, name of a worker to the Unix time of its last report."""
        return self._named("reports")

    def report(self, worker: str) -> str:
        """String that expires: what a worker has reported of itself, as JSON."""
        return self._named(f"report:{worker}")

    def _named(self, what: str) -> str:
        return f"{PREFIX}:{self.queue}:{what}"


def dead_key(queue: str) -> str:
    """Hash, task id to dead letter."""
    return f"{PREFIX}:{queue}:dead"


def dead_index_key(queue: str) -> str:
    """Sorted set, task id by the Unix time at which it was given up."""
    return f"{PREFIX}:{queue}:dead-index"
