"""What Sentry, OpenTelemetry and errbacks see of a worker's tasks, on both ways to run them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
LABELS = {"labels": ["red", "green"], "k": 1}
ROOT = Path(__file__).parent
PAGE = "../../docs/observing.md"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
NO_LABELS = {"labels": []}


def seen(broker, name: str, count: int) -> list[Any]:
    """What the worker has seen, once it is so many."""
    key = f"seen:{name}"
    wait_until(lambda: broker.llen(key) >= count)
    return [json.loads(each) for each in broker.lrange(key, 0, -1)]


def by_task(spans: list[Any]) -> dict[str, Any]:
    return {span["attributes"]["messaging.message.id"]: span for span in spans}


def test_the_page_about_watching_tasks_has_the_receiver_that_is_tested():
    app, page = (Path(ROOT, name).read_text() for name in ("observed_app.py", PAGE))
    receiver = app.partition("@task_failure.connect\n")[2].partition("\n\n")[0]

    assert receiver in page


def test_a_task_is_one_span_and_a_failure_one_event_on_both_ways(
    redis_url, tmp_path, plain, broker, image, site
):
    settings = {"allow_private": "true", "drain_timeout_s": "1", "fetch_timeout_s": "50"}
    with WorkerProcess(redis_url, tmp_path, app="observed_app", **settings) as worker:
        # given tasks that succeed and fail on the queue path, and others that Celery runs
        errback = plain.signature("observed.on_error", queue=DEFAULT_QUEUE)
        theirs = plain.signature("backend.note_failure", queue="user")
        ours = [plain.send_task("clip.classify", (image,), LABELS, headers=HEADERS)]
        ours += [plain.send_task("clip.classify", (image,), NO_LABELS, headers=HEADERS)]
        celerys = [
            plain.send_task("clip.classify", (image,), labels, headers=HEADERS, countdown=0.01)
            for labels in (LABELS, NO_LABELS)
        ]
        with_errbacks = plain.send_task(
            "clip.classify", (image,), NO_LABELS, link_error=[errback, theirs]
        )
        tasks = [*ours, *celerys, with_errbacks]
        for task in tasks:
            task.get(LIMIT_S, propagate=False)

        # then each is one span, a child of what sent it
        spans = seen(broker, "spans", len(tasks))
        runs = by_task([span for span in spans if span["name"] == "run/clip.classify"])
        assert set(runs) == {task.id for task in tasks}
        assert [span["name"] for span in spans].count("run/clip.classify") == len(tasks)
        for ours_or_celerys in (ours, celerys):
            for task, state in zip(ours_or_celerys, ("SUCCESS", "FAILURE"), strict=True):
                span = runs[task.id]
                assert span["context"]["trace_id"] == f"0x{TRACE}"
                assert span["parent_id"] == f"0x{PARENT}"
                assert span["attributes"]["celery.state"] == state
                assert span["status"]["status_code"] == ("UNSET" if state == "SUCCESS" else "ERROR")
                assert span["start_time"] < span["end_time"]
        for ours_, theirs_ in zip(ours, celerys, strict=True):  # they look the same
            names = set(runs[theirs_.id]["attributes"]) - {"celery.eta"}
            assert set(runs[ours_.id]["attributes"]) == names

        # and each failure one event at Sentry
        events = seen(broker, "events", 3)
        failed = {ours[1].id, celerys[1].id, with_errbacks.id}
        assert sorted(event["tags"]["celery_task_id"] for event in events) == sorted(failed)
        for event in events:
            exception = event["exception"]["values"][-1]  # after those that caused it
            assert exception["type"] == "InvalidRequestError"
            assert event["transaction"] == "clip.classify"

        # and the errback that the worker knows has got the exception, the other one the task's id
        [got] = seen(broker, "errbacks", 1)
        assert got[:2] == [with_errbacks.id, "InvalidRequestError"]
        assert got[3] == "NO_LABELS"
        wait_until(lambda: broker.llen("user") == 1)
        message = json.loads(broker.lindex("user", 0))
        assert json.loads(base64.b64decode(message["body"]))[0] == [with_errbacks.id]

        # when the worker stops while it waits for an image
        held = plain.send_task("clip.classify", (site.url(),), LABELS)
        wait_until(lambda: unacked(broker, QueueKeys(DEFAULT_QUEUE)) == 1)
        worker.stop()

    # then its span says that another worker will do it
    run = by_task(seen(broker, "spans", len(spans) + 1))[held.id]
    assert run["attributes"]["celery.state"] == "RETRY"
    assert run["attributes"]["celery.retry.reason"].startswith("Requeued")
    assert broker.llen("seen:events") == 3
    assert "Traceback" not in worker.log
