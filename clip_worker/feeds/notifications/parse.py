"""Reads a notification of any known form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from clip_worker.errors import InvalidRequestError
from clip_worker.feeds.item import Item
from clip_worker.feeds.notifications.gcs import PubSubPush
from clip_worker.feeds.notifications.s3 import EventBridgeEvent, S3Record
from clip_worker.feeds.stored_object import StoredObject
from clip_worker.quoting import quote

MOST_ENVELOPES = 4  # around an event: EventBridge to SNS to SQS, for one
TEST_EVENT = "s3:TestEvent"  # sent when notifications are configured


def parse_notification(body: str | bytes) -> list[Item]:
    """The images that a notification is about; none if it is about a deleted object, or a test.

    Raises:
        InvalidRequestError: `BAD_NOTIFICATION`: its form is not known.
    """
    try:
        objects = list(_objects(json.loads(body), MOST_ENVELOPES))
    except (ValueError, RecursionError, InvalidRequestError) as error:
        raise _unknown(body, _reason(error)) from error
    items = (each.item() for each in objects)
    return list({item.key: item for item in items if item is not None}.values())


def _objects(event: Any, envelopes: int) -> Iterator[StoredObject]:
    if not envelopes:
        raise InvalidRequestError("it has too many envelopes", "BAD_NOTIFICATION")
    if isinstance(event, list):  # of MinIO's Redis target, and of its batches
        for each in event:
            yield from _objects(each, envelopes - 1)
        return
    if not isinstance(event, dict):
        raise InvalidRequestError("it is not an object", "BAD_NOTIFICATION")
    if isinstance(event.get("Message"), str) and event.get("Type") == "Notification":  # SNS
        yield from _objects(json.loads(event["Message"]), envelopes - 1)
    elif event.get("Event") != TEST_EVENT:
        yield from filter(None, _created(event))


def _created(event: dict[str, Any]) -> Iterator[StoredObject | None]:
    if isinstance(records := event.get("Records", event.get("Event")), list):
        yield from (S3Record.model_validate(record).object() for record in records)
    elif "detail-type" in event:
        yield EventBridgeEvent.model_validate(event).object()
    elif "message" in event:
        yield PubSubPush.model_validate(event).object()
    else:
        raise InvalidRequestError("it has none of the known fields", "BAD_NOTIFICATION")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    if isinstance(error, InvalidRequestError):
        return error.message.removesuffix(".")
    return "it is nested too deeply" if isinstance(error, RecursionError) else "it is not JSON"


def _unknown(body: str | bytes, reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The notification {quote(body)} is of no known form ({reason}); events of S3, MinIO, "
        "EventBridge and Pub/Sub are read.",
        "BAD_NOTIFICATION",
    )
