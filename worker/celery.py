"""The Celery application and the settings that its guarantees rest on (docs/delivery.md).

It is an ordinary Celery app: `celery -A worker worker`, `inspect`, Flower, chains, groups and
chords do what Celery users expect. Nothing is read from the environment before Celery asks for its
configuration.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from click import ClickException
from kombu.entity import Exchange, Queue

from clip_worker.contract.requests import TASK_PREFIX
from clip_worker.redis.celery_app import RedisCelery, redis_configuration
from worker.extra import missing_extra
from worker.variables import SLEEP_AT_BARRIERS

if TYPE_CHECKING:
    from worker.settings import Settings

CELERY_PREFIX = "celery."  # of the tasks that every application has: `celery.map`, `celery.chord`

# Not kombu's own: there it would give back, after our visibility timeout, what a backend's workers
# hold under a longer one.
UNACKED_KEYS = {
    f"{key}_key": f"clip-worker:kombu:{key}"
    for key in ("unacked", "unacked_index", "unacked_mutex")
}
SPARE_CONNECTIONS = 16  # of the result backend, for whatever else asks it something


def worker_configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings for a worker with these settings of ours."""
    shared = redis_configuration(settings.redis_url, settings.results_url)
    transport = shared["broker_transport_options"]
    return shared | {
        "broker_transport_options": transport
        | UNACKED_KEYS
        | {"visibility_timeout": settings.visibility_timeout_s},
        # Not the default queue: what a chain, chord or callback goes on with may be a task of the
        # backend's own, which belongs on the backend's own queue.
        "task_queues": [_queue(settings.queue)],
        "task_routes": [partial(_route, settings.queue)],
        "result_expires": settings.result_ttl_s,
        # so that all tasks in flight can store their results at once.
        "redis_max_connections": tasks_in_flight(settings) + SPARE_CONNECTIONS,
        # One model a process, shared by all of its tasks: threads. A task's thread only waits.
        "worker_pool": "worker.runtime.task_pool:TaskPool",
        "worker_consumer": "worker.runtime.celery_consumer:ClipConsumer",
        "worker_concurrency": tasks_in_flight(settings),
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": settings.remote_control,
        # A message stays Redis's until its result is stored.
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Redis may go away and come back: keep trying, and let no slot leak.
        "result_backend_always_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Each costs a tenth of the throughput or more; `-E` turns events on.
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        "task_track_started": False,
        "worker_hijack_root_logger": True,
    }


def _queue(name: str) -> Queue:
    """As Celery makes one for a name that it does not know; it would be bound to `celery`."""
    return Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]  # kombu's


def tasks_in_flight(settings: Settings) -> int:
    """How many tasks Celery itself runs at a time: enough to fill the next batch while one runs."""
    return settings.concurrency or max(16, 4 * settings.largest_batch)


def _route(queue: str, name: str, *_: object, **__: object) -> dict[str, str] | None:
    """Our own tasks to our queue; all others to Celery's default queue, or where they say."""
    registered = name in app.tasks and not name.startswith(CELERY_PREFIX)
    return {"queue": queue} if registered or name.startswith(TASK_PREFIX) else None


def _configuration() -> dict[str, Any]:
    """Read the settings when Celery first needs one; wrong ones end its command cleanly.

    So does an installation of the client only.
    """
    if missing := missing_extra("The worker"):
        raise ClickException(missing)
    from worker.settings import Settings, SettingsError

    os.environ.setdefault(*SLEEP_AT_BARRIERS)  # torch is loaded later
    try:
        return worker_configuration(Settings.load())
    except SettingsError as error:
        raise ClickException(str(error)) from error


app = RedisCelery(
    "worker",
    include=["worker.tasks", "worker.runtime.signals", "worker.runtime.inspect_commands"],
    set_as_current=False,
)
app.add_defaults(_configuration)
