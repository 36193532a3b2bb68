"""`celery inspect active | reserved | query_task | stats`: Celery's answers and ours.

Celery's commands know the tasks that it runs itself; these take their places and add ours.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from celery.worker import control

from worker.runtime import state as runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.delivery.delivery import Delivery

ACTIVE, RESERVED = "active", "reserved"

_celerys: dict[str, Callable[..., Any]] = {
    name: control.Panel.data[name] for name in (ACTIVE, RESERVED, "query_task", "stats")
}


@control.inspect_command(alias="dump_active")  # type: ignore[untyped-decorator]  # Celery's
def active(state: Any, *, safe: bool = False, **_: object) -> list[dict[str, Any]]:
    """List of tasks currently being executed."""
    return [*_celerys[ACTIVE](state, safe=safe), *_held(state, ACTIVE)]


@control.inspect_command(alias="dump_reserved")  # type: ignore[untyped-decorator]  # likewise
def reserved(state: Any, **_: object) -> list[dict[str, Any]]:
    """List of currently reserved tasks, not including scheduled/active."""
    return [*_celerys[RESERVED](state), *_held(state, RESERVED)]


@control.inspect_command(  # type: ignore[untyped-decorator]  # likewise
    variadic="ids", signature="[id1 [id2 [... [idN]]]]"
)
def query_task(state: Any, ids: Any, **_: object) -> dict[str, Any]:
    """Query for task information by id."""
    asked = [ids] if isinstance(ids, str) else list(ids)
    found: dict[str, Any] = dict(_celerys["query_task"](state, asked))
    for stage in (ACTIVE, RESERVED):
        found |= {task["id"]: (stage, task) for task in _held(state, stage) if task["id"] in asked}
    return found


@control.inspect_command()  # type: ignore[untyped-decorator]  # likewise
def stats(state: Any, **_: object) -> dict[str, Any]:
    """Request worker statistics/information."""
    answer: dict[str, Any] = _celerys["stats"](state)
    total = Counter(answer["total"])
    total.update(runtime.current().consumer.acks.totals())
    here = runtime.current()
    ours = {"total": dict(total), "preparation": here.pool.stats(), "gpu": here.gpu_stats()}
    if here.poster:
        ours["webhooks"] = here.poster.stats()
    return answer | ours


def _held(state: Any, stage: str) -> list[dict[str, Any]]:
    consumer = runtime.current().consumer
    return [
        _info(delivery, state.hostname)
        for delivery in consumer.in_flight.all()
        if not delivery.in_celery and delivery.begun == (stage == ACTIVE)
    ]


def _info(delivery: Delivery, hostname: str) -> dict[str, Any]:
    envelope = delivery.envelope
    held_s = time.monotonic() - delivery.taken_at
    return {
        "id": delivery.id,
        "name": envelope.task,
        "args": delivery.arguments.args,
        "kwargs": delivery.arguments.kwargs,
        "type": envelope.task,
        "hostname": hostname,
        "time_start": time.time() - held_s if delivery.begun else None,
        "acknowledged": False,
        "delivery_info": envelope.properties.get("delivery_info"),
        "worker_pid": os.getpid() if delivery.begun else None,
    }
