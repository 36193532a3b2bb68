"""What a place is, by its spelling."""

from __future__ import annotations

import pytest
from support.failure import failure_of

from clip_worker.feeds.bucket_arrivals import BucketArrivals
from clip_worker.feeds.folder_arrivals import FolderArrivals
from clip_worker.feeds.notifications.arrivals import NotificationArrivals
from clip_worker.feeds.notifications.redis_list import RedisListSource
from clip_worker.feeds.notifications.sqs import SqsSource
from clip_worker.feeds.notifications.webhook import Endpoint, WebhookSource
from clip_worker.feeds.open_place import PlaceOptions, open_place


@pytest.fixture
def options(tmp_path):
    return PlaceOptions(tmp_path / "inbox", secret="shared")


def test_a_folder_is_watched(tmp_path, options):
    assert isinstance(open_place(str(tmp_path), options), FolderArrivals)


@pytest.mark.parametrize(
    ("place", "prefix"),
    [
        ("s3://pets", ""),
        ("s3://pets/", ""),
        ("s3://pets/in/", "in/"),
        ("s3://pets/a?b#c d/", "a?b#c d/"),
    ],
)
def test_a_bucket_is_listed(place, prefix, options):
    opened = open_place(place, options)

    assert isinstance(opened, BucketArrivals)
    assert (opened._bucket, opened._prefix) == ("pets", prefix)


@pytest.mark.parametrize(
    ("place", "kind", "expected"),
    [
        ("sqs://arrivals", SqsSource, {"_queue": "arrivals", "_account": None, "_region": None}),
        (
            "sqs://arrivals?region=eu-west-1&account=123456789012",
            SqsSource,
            {"_queue": "arrivals", "_account": "123456789012", "_region": "eu-west-1"},
        ),
        (
            "redis://me:pw@host:6379/2?list=a%20b",
            RedisListSource,
            {"_url": "redis://me:pw@host:6379/2", "_key": "a b"},
        ),
        (
            "webhook://0.0.0.0:8080/hook",
            WebhookSource,
            {"_endpoint": Endpoint("0.0.0.0", 8080, "/hook")},
        ),
        ("webhook://[::1]:8080", WebhookSource, {"_endpoint": Endpoint("::1", 8080, "/")}),
    ],
)
def test_notifications_are_received(place, kind, expected, options):
    opened = open_place(place, options)

    assert isinstance(opened, NotificationArrivals)
    assert isinstance(opened._source, kind)
    assert {name: getattr(opened._source, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/no/such/folder", "there is no such folder"),
        ("ftp://host/a", "its scheme 'ftp' is not known"),
        ("redis://me:secret@host:6379/0", "it has no ?list="),
        ("sqs://", "it has to be sqs://queue"),
        ("sqs://queue/more", "it has to be sqs://queue"),
        ("sqs://queue?zone=1", "zone is not one of account, region"),
        ("webhook://host/path", "it has to be webhook://address:port/path"),
        ("webhook://host:99999/path", "it is not a valid URL (check the port"),
        ("s3://[", "it is not a valid URL"),
        ("redis://:secret/x@host/0?list=a", "it is not a valid URL"),
        ("redis://:x/secret@host/0?list=a", "it is not a valid URL"),
        ("redis://host/0?password=secret", "it has no ?list="),
        ("webhook://127.0.0.1:80/?token=secret", "it has to be webhook://address:port/path"),
    ],
)
def test_what_is_no_place_is_refused_with_what_is(place, reason, options):
    failure = failure_of(open_place, place, options)

    assert failure.code == "BAD_PLACE"
    assert reason in failure.message
    assert "secret" not in failure.message


def test_a_webhook_that_others_can_reach_needs_a_secret(tmp_path):
    without = PlaceOptions(tmp_path / "inbox")

    assert failure_of(open_place, "webhook://0.0.0.0:80/", without).code == "BAD_PLACE"
    assert isinstance(open_place("webhook://127.0.0.1:80/", without), NotificationArrivals)
    assert isinstance(open_place("webhook://localhost:80/", without), NotificationArrivals)


def test_a_key_that_is_none_is_not_shown(tmp_path):
    options = PlaceOptions(tmp_path / "inbox", secret="whsec_topsecret")

    failure = failure_of(open_place, "webhook://0.0.0.0:80/", options)

    assert "CLIP_WORKER_WATCH_SECRET is not valid" in failure.message
    assert "topsecret" not in failure.message
