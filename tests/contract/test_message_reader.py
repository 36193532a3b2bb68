"""Reading messages that Celery wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from celery import Celery, chain

from clip_worker.contract.message_reader import Envelope

pytestmark = pytest.mark.integration


@pytest.fixture
def app(redis_url):
    app = Celery(broker=redis_url, set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def read(redis_url):
    """Reads the message that Celery has just put onto the queue."""
    with redis.Redis.from_url(redis_url) as client:
        yield lambda: Envelope.decode(client.lpop("celery"))


def test_a_plain_task_is_read_as_it_was_sent(app, read):
    sent = app.send_task("clip.classify", args=("a",), kwargs={"labels": ["ä"]})

    envelope = read()

    assert envelope.is_plain
    assert (envelope.id, envelope.task) == (sent.id, "clip.classify")
    args, kwargs, embed = envelope.arguments
    assert (args, kwargs) == (["a"], {"labels": ["ä"]})
    assert not any(embed.values())
    assert envelope.expires() is None


@pytest.mark.parametrize("as_time", [False, True])
def test_the_expiry_is_a_unix_time(app, read, *, as_time):
    at = datetime.now(UTC) + timedelta(seconds=600)
    app.send_task("clip.classify", expires=at if as_time else 600)

    assert read().expires() == pytest.approx(at.timestamp(), abs=60)


@pytest.mark.parametrize(
    "options",
    [{"countdown": 60}, {"time_limit": 5}, {"soft_time_limit": 5}],
    ids=lambda options: next(iter(options)),
)
def test_a_task_with_special_options_is_not_plain(app, read, options):
    app.send_task("clip.classify", **options)

    assert not read().is_plain


def test_callbacks_and_chains_are_read(app, read):
    task = app.signature("clip.classify", args=("a",), kwargs={}, ignore_result=True)
    other = app.signature("other", ignore_result=True)
    for name, send in {
        "callbacks": lambda: task.clone().apply_async(link=other),
        "errbacks": lambda: task.clone().apply_async(link_error=other),
        "chain": lambda: chain(task.clone(), other, app=app).apply_async(),
    }.items():
        send()
        envelope = read()
        assert [key for key, value in envelope.arguments.embed.items() if value] == [name]
        assert not envelope.is_plain


def test_a_member_of_a_group_is_plain_but_not_of_a_chord(app, read):
    app.send_task("clip.classify", group_id="g")
    member = read()
    app.send_task("clip.classify", group_id="g", chord=app.signature("other"))
    of_chord = read()

    assert member.is_plain
    assert member.headers["group"] == "g"
    assert of_chord.arguments.embed["chord"]
    assert not of_chord.is_plain


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_a_compressed_task_is_read_like_any_other(app, read, compression):
    app.send_task("clip.classify", kwargs={"labels": ["ä"] * 50}, compression=compression)

    envelope = read()

    assert envelope.is_plain
    assert envelope.arguments.kwargs == {"labels": ["ä"] * 50}
