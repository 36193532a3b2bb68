"""When Celery's task events are put together, with Celery's own dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from worker.delivery.task_events import TaskEvents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery.events.dispatcher import EventDispatcher


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("events", broker="memory://", set_as_current=False) as app:
        yield app


def dispatcher(app: Celery, **options: object) -> EventDispatcher:
    return app.events.Dispatcher(app.connection_for_write(), hostname="one", **options)


def test_nobody_listens_before_there_is_a_dispatcher_or_where_it_is_disabled(app: Celery) -> None:
    events = TaskEvents()
    assert not events.wanted
    events.listen(dispatcher(app, enabled=False))
    assert not events.wanted


def test_a_worker_with_task_events_sends_them(app: Celery) -> None:
    events = TaskEvents()
    events.listen(dispatcher(app, enabled=True, groups=None))
    assert events.wanted


def test_a_worker_without_them_sends_its_own_events_only_until_control_enables_more(
    app: Celery,
) -> None:
    events, without_e = TaskEvents(), dispatcher(app, enabled=True, groups=["worker"])
    events.listen(without_e)
    assert not events.wanted
    # when `celery control enable_events` and `disable_events` do what they do
    without_e.groups.add("task")
    assert events.wanted
    without_e.groups.discard("task")
    assert not events.wanted
