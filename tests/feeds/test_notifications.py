"""Reading notifications: the examples of the stores' documentation, and hostile ones."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.failure import failure_of

from clip_worker.errors import InvalidRequestError
from clip_worker.feeds.notifications.parse import parse_notification

RECORD: dict[str, Any] = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "eventName": "ObjectCreated:Put",
    "s3": {
        "s3SchemaVersion": "1.0",
        "bucket": {"name": "pets", "arn": "arn:aws:s3:::pets"},
        "object": {
            "key": "my+cat%2B1%2520.jpg",
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "sequencer": "0055AED6DCD90281E5",
        },
    },
}
S3 = {"Records": [RECORD]}
IMAGE = "s3://pets/my cat+1%20.jpg"
KEY = f"{IMAGE} d41d8cd98f00b204e9800998ecf8427e"
MINIO_RECORD = RECORD | {"eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put"}
EVENT_BRIDGE = {
    "version": "0",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "detail": {
        "bucket": {"name": "pets"},
        "object": {
            "key": "my cat+1%20.jpg",
            "etag": "d41d8cd98f00b204e9800998ecf8427e",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        },
        "reason": "PutObject",
    },
}


def sns(event: object) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:::t", "Message": json.dumps(event)}


def push(event: str = "OBJECT_FINALIZE", key: str = "my cat+1%20.jpg") -> dict[str, Any]:
    resource = {"kind": "storage#object", "bucket": "pets", "name": key}
    attributes = {
        "notificationConfig": "projects/_/buckets/pets/notificationConfigs/1",
        "eventType": event,
        "payloadFormat": "JSON_API_V1",
        "bucketId": "pets",
        "objectId": key,
        "objectGeneration": "1763000000000001",
    }
    data = base64.b64encode(json.dumps(resource).encode()).decode()
    message = {"data": data, "messageId": "1", "attributes": attributes}
    return {"message": message, "subscription": "projects/p/subscriptions/s"}


@pytest.mark.parametrize(
    "event",
    [
        S3,
        {"EventName": "s3:ObjectCreated:Put", "Key": "pets/x", "Records": [MINIO_RECORD]},
        [{"Event": [MINIO_RECORD], "EventTime": "2026-01-01T00:00:00Z"}],
        sns(S3),
        sns(sns(S3)),
        EVENT_BRIDGE,
        sns(EVENT_BRIDGE),
        {"Records": [RECORD, RECORD]},
    ],
)
def test_each_form_of_the_same_event_is_the_same_item(event):
    (item,) = parse_notification(json.dumps(event))

    assert (item.image, item.key, item.path) == (IMAGE, KEY, None)


def test_a_notification_of_google_cloud_storage_is_read():
    (item,) = parse_notification(json.dumps(push()).encode())

    assert item.image == "gs://pets/my cat+1%20.jpg"
    assert item.key == f"{item.image} 1763000000000001"


def test_several_records_are_several_items():
    other = json.loads(json.dumps(RECORD))
    other["s3"]["object"]["key"] = "b.jpg"

    items = parse_notification(json.dumps({"Records": [RECORD, other]}))

    assert [item.image for item in items] == [IMAGE, "s3://pets/b.jpg"]


@pytest.mark.parametrize(
    "event",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "pets"},
        sns({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "pets"}),
        {"Records": [RECORD | {"eventName": "ObjectRemoved:Delete"}]},
        {"Records": [RECORD | {"eventName": "s3:ObjectAccessed:Get"}]},
        {"Records": []},
        EVENT_BRIDGE | {"detail-type": "Object Deleted"},
        push("OBJECT_DELETE"),
        push("OBJECT_METADATA_UPDATE"),
        push(key="notes.txt"),
        push(key="folder/"),
        [],
    ],
)
def test_what_is_not_about_a_new_image_has_no_items(event):
    assert parse_notification(json.dumps(event)) == []


def changed(**values: object) -> dict[str, Any]:
    record = json.loads(json.dumps(RECORD))
    record["s3"]["object"].update(values)
    return {"Records": [record]}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        b"\xff\xfe",
        "null",
        "3",
        "{}",
        '{"Records": [1]}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        json.dumps(changed(key=7)),
        json.dumps(changed(key="%FF.jpg")),
        '{"Type": "Notification", "Message": "no JSON"}',
        '{"message": {"data": "e30="}}',
        "[" * 100_000,
        json.dumps([[[[[[S3]]]]]]),
        json.dumps(S3).replace('"pets"', '"pets@evil.example/"'),
    ],
)
def test_what_has_another_form_is_refused_in_one_sentence(body):
    failure = failure_of(parse_notification, body)

    assert failure.code == "BAD_NOTIFICATION"
    assert len(failure.message) < 400


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Records",
                        "Event",
                        "Type",
                        "Message",
                        "message",
                        "s3",
                        "detail-type",
                        "detail",
                        "source",
                        "eventName",
                        "attributes",
                        "bucket",
                        "object",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_nothing_but_a_refusal_is_raised(event):
    with contextlib.suppress(InvalidRequestError):
        parse_notification(json.dumps(event))


@pytest.mark.parametrize("missing", ["eTag", "size"])
def test_an_event_without_an_entity_tag_is_told_apart_by_its_version_or_sequencer(missing):
    record = json.loads(json.dumps(RECORD))
    record["s3"]["object"].pop(missing)

    (item,) = parse_notification(json.dumps({"Records": [record]}))

    assert item.key.endswith("0055AED6DCD90281E5" if missing == "eTag" else "427e")
