"""The checks of group `queue`: who else takes from it, and what lies in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from clip_worker.contract import CLASSIFY
from clip_worker.redis.celery_app import client_app
from clip_worker.redis.queue_status import QueueStatus, queue_status
from clip_worker.redis.worker_reports import WorkerReports
from worker.cli.doctor.amounts import shown_seconds
from worker.cli.doctor.check import Check
from worker.cli.doctor.finding import Finding, ok, problem, skipped, warning
from worker.cli.labels.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.cli.doctor.subject import Subject

CELERYS_DEFAULT = "celery"
ANSWER_S = 1.0  # how long workers have to answer Celery's remote control
OLD_S = 600.0
MOST_NAMED = 3


def queue_checks(subject: Subject) -> list[Check]:
    """Checks of the queue."""
    examined = subject.redis.examined
    return [
        Check("queue", "name", lambda: _check_name(subject.queue)),
        Check("queue", "other consumers", examined(lambda: _check_consumers(subject))),
        Check("queue", "workers", examined(lambda: _check_workers(subject))),
        Check("queue", "waiting", examined(lambda: _check_waiting(subject))),
        Check("queue", "dead letters", examined(lambda: _check_dead_letters(subject))),
    ]


def _check_name(queue: str) -> Finding:
    if queue != CELERYS_DEFAULT:
        return ok(f"The queue is {queue!r}.")
    return warning(
        f"The queue is {queue!r}, Celery's default: other applications' workers may take its tasks "
        "and answer NotRegistered.",
        "Set CLIP_WORKER_QUEUE to a name of its own, such as clip, for workers and clients.",
    )


def _check_consumers(subject: Subject) -> Finding:
    """Ask all Celery workers on this Redis which queues they take from, and which tasks they know.

    Workers whose remote control is off don't answer.
    """
    app = client_app(subject.redis.url, subject.redis.url, subject.queue)
    try:
        ask = app.control.inspect(timeout=ANSWER_S)
        queues: dict[str, Any] = ask.active_queues() or {}
        here = [name for name, taken in queues.items() if _takes(taken, subject.queue)]
        known = app.control.inspect(here, timeout=ANSWER_S).registered() or {} if here else {}
    except (RedisError, OperationalError) as error:
        return skipped(f"Celery's remote control can't be used: {error}.")
    finally:
        app.close()
    strangers = [name for name in here if CLASSIFY not in known.get(name, (CLASSIFY,))]
    if strangers:
        return problem(
            f"Workers of another application take from the queue: {_named(strangers)}.",
            "Give clip-worker a queue of its own (CLIP_WORKER_QUEUE), or stop these workers.",
        )
    if not here:
        return ok("No Celery worker of another application takes from it, as far as they answer.")
    return ok(f"All Celery workers that take from it are clip-worker's: {_named(here)}.")


def _takes(queues: Iterable[Any] | None, queue: str) -> bool:
    return any(isinstance(one, dict) and one.get("name") == queue for one in queues or ())


def _check_workers(subject: Subject) -> Finding:
    reports = WorkerReports(subject.redis.client, subject.queue).all()
    models = sorted({f"{one.model} {one.model_digest[:12]}".strip() for one in reports})
    versions = sorted({one.version for one in reports})
    if len(models) > 1:
        return warning(
            f"Workers of this queue run different models: {', '.join(models)}; which one answers "
            "a task is chance.",
            "Finish the change of models, or give each model a queue of its own.",
        )
    if len(versions) > 1:
        return warning(
            f"Workers of this queue run different versions: {', '.join(versions)}.",
            "Finish the upgrade.",
        )
    if not reports:
        return ok("No worker takes from it yet.")
    return ok(f"{counted(len(reports), 'worker')} with the model {models[0]}, {versions[0]}.")


def _check_waiting(subject: Subject) -> Finding:
    found = _status(subject)
    age = "" if found.oldest_s is None else f", the oldest for {shown_seconds(found.oldest_s)}"
    waiting, in_flight = counted(found.messages, "message"), found.in_flight_messages
    sentence = f"{waiting} waiting{age}, {in_flight} in flight."
    if found.messages and not found.workers:
        return warning(sentence, "No worker takes them: start one with `clip-worker start`.")
    if found.oldest_s is not None and found.oldest_s > OLD_S:
        return warning(sentence, "Start more workers, or look with `clip-worker status` for why.")
    return ok(sentence)


def _check_dead_letters(subject: Subject) -> Finding:
    count = _status(subject).dead_letters
    if not count:
        return ok("There are no dead letters.")
    return warning(
        f"{counted(count, 'dead letter')}: messages that workers gave up.",
        "Read the reasons with `clip-worker dead list`, then replay or purge them.",
    )


def _status(subject: Subject) -> QueueStatus:
    return queue_status(subject.redis.client, subject.queue)


def _named(workers: list[str]) -> str:
    more = len(workers) - MOST_NAMED
    return ", ".join(workers[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
