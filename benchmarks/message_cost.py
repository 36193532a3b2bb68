"""What reading a message and writing its result cost the model's process, function by function.

    python -m benchmarks.message_cost        (20 seconds)

Processor time of one thread, which nothing interrupts: the least of the rounds, an image. It leaves
out what threads cost each other: wake-ups, the GIL and Redis's round trips. `model_process` has
those too.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery

from clip_worker.contract.celery_result import result_key, success
from clip_worker.contract.message_body import arguments_of, parse_body
from clip_worker.contract.message_headers import fault_of_headers, fault_of_properties
from clip_worker.contract.message_reader import Envelope
from clip_worker.contract.request_cache import RequestCache
from clip_worker.contract.requests import CLASSIFY
from clip_worker.contract.text import read_json
from clip_worker.contract.uri import validate_uri
from worker.delivery.delivery import Ack, Delivery, Lease
from worker.pipeline.host_limiter import host_of
from worker.pipeline.image_task import ImageTask
from worker.pipeline.single_flight import SingleFlight
from worker.pipeline.timer import Timer
from worker.runtime.job_builder import named_arguments, queue_s, tagging_request
from worker.runtime.queue_assembly import result_ttl_of, uploads_of
from worker.runtime.webhook_assembly import webhook_of

MESSAGES = 2000
ROUNDS = 25
LABELS = [f"a thing number {i}" for i in range(10)]
LEASE: Any = Lease(None, 0.0)  # type: ignore[arg-type]  # no queue is asked
OWNER: Any = None


def message(app: Celery, number: int) -> bytes:
    """As kombu writes it."""
    kwargs = {"image": f"file:///data/pictures/{number}.jpg", "labels": LABELS}
    made = app.amqp.as_task_v2(str(uuid.uuid4()), CLASSIFY, (), kwargs)
    info = {"exchange": "", "routing_key": "clip"}
    properties = {**made.properties, "delivery_mode": 2, "priority": 0, "delivery_info": info}
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(made.body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": made.headers,
            "properties": properties | {"body_encoding": "base64"},
        }
    ).encode()


def least_us(function: Callable[[Any], object], given: Sequence[Any]) -> float:
    """Microseconds a call."""
    found = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for each in given:
            function(each)
        found.append(time.thread_time() - start)
    return 1e6 * min(found) / len(given)


def fail(_task: ImageTask, error: BaseException) -> None:
    """Take no failure."""
    raise error


def main() -> None:
    """Print the table."""
    with Celery("cost", broker="memory://", set_as_current=False) as app:
        raw = [message(app, number) for number in range(MESSAGES)]
    entries = [b"clip\n0\n" + each for each in raw]
    envelopes = [Envelope.decode(each) for each in raw]
    bodies = [parse_body(each.body) for each in envelopes]
    deliveries = [Delivery(LEASE, "tag", (), *each) for each in zip(raw, envelopes, strict=True)]
    requests = RequestCache(tagging_request)
    arguments = [dict(each.arguments.kwargs) for each in deliveries]
    request = requests.read(arguments[0]).kept
    uris = [each["image"] for each in arguments]
    tasks = [ImageTask(uri, request, OWNER) for uri in uris]
    flights = SingleFlight(then=len, failed=fail, timer=Timer(), now=time.time)

    def share_with_nobody(task: ImageTask) -> None:
        flights.run([task])
        flights.close([task])

    rows: list[tuple[str, Callable[[Any], object], Sequence[Any]]] = [
        ("the delivery of an entry", lambda entry: Delivery.decode(LEASE, b"tag", entry), entries),
        ("the envelope of a message", Envelope.decode, raw),
        ("- JSON of the message", read_json, raw),
        ("- JSON of the body", lambda each: parse_body(each.body), envelopes),
        ("- checks of the headers", lambda each: fault_of_headers(each.headers), envelopes),
        ("- of the properties", lambda each: fault_of_properties(each.properties), envelopes),
        ("- of the arguments", arguments_of, bodies),
        (
            "arguments by name",
            lambda each: named_arguments(CLASSIFY, *each.arguments[:2]),
            deliveries,
        ),
        ("the request, seen before", requests.read, arguments),
        ("- the URI", validate_uri, uris),
        ("the wait in the queue", lambda each: queue_s(each.headers), envelopes),
        ("the image task", lambda each: ImageTask("", request, OWNER, each), deliveries),
        ("its flight, which nobody shares", share_with_nobody, tasks),
        ("the URI's host", host_of, uris),
        ("uploads of a task", uploads_of, deliveries),
        ("time to keep its result", result_ttl_of, deliveries),
        ("webhook of a task", webhook_of, deliveries),
        ("the result as Celery stores it", lambda each: success(each, "{}"), envelopes),
        ("its acknowledgement", lambda each: Ack(each, result_key(each.id), "{}"), deliveries),
    ]
    print("| an image | µs |\n| --- | --- |")
    whole_us = 0.0
    for title, function, given in rows:
        taken_us = least_us(function, given)
        whole_us += 0.0 if title.startswith("- ") else taken_us
        print(f"| {title} | {taken_us:.1f} |", flush=True)
    print(f"| all but the lines with a dash | {whole_us:.1f} |")


if __name__ == "__main__":
    main()
