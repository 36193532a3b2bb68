"""Reading Celery's messages, held against messages that Celery wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery, chain

from worker.contract.message_reader import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    app = Celery(broker=redis_url, set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def written(redis_url: str) -> Iterator[Callable[[], bytes]]:
    """The message that Celery has just put on the queue."""
    with redis.Redis.from_url(redis_url) as client:

        def last() -> bytes:
            message = client.lpop("celery")
            assert isinstance(message, bytes)
            return message

        yield last


def _sig(app: Celery, **options: Any) -> Any:
    return app.signature(
        "clip.classify", args=("a",), kwargs={"labels": ["b"]}, ignore_result=True, **options
    )


def test_a_plain_task_is_read_as_it_was_sent(app: Celery, written: Callable[[], bytes]) -> None:
    sent = app.send_task("clip.classify", args=("a",), kwargs={"labels": ["ä"]})

    envelope = Envelope.decode(written())

    assert envelope.is_plain
    assert (envelope.id, envelope.task) == (sent.id, "clip.classify")
    args, kwargs, embed = envelope.arguments
    assert (args, kwargs) == (["a"], {"labels": ["ä"]})
    assert not any(embed.values())
    assert envelope.expires() is None


@pytest.mark.parametrize("as_time", [False, True])
def test_expiry_is_a_unix_time(app: Celery, written: Callable[[], bytes], *, as_time: bool) -> None:
    at = datetime.now(UTC) + timedelta(seconds=600)
    app.send_task("clip.classify", expires=at if as_time else 600)

    read = Envelope.decode(written()).expires()

    assert read == pytest.approx(at.timestamp(), abs=60)


@pytest.mark.parametrize(
    "options",
    [{"countdown": 60}, {"time_limit": 5}, {"soft_time_limit": 5}],
    ids=lambda options: next(iter(options)),
)
def test_what_asks_for_more_is_not_plain(
    app: Celery, written: Callable[[], bytes], options: dict[str, Any]
) -> None:
    app.send_task("clip.classify", **options)

    assert not Envelope.decode(written()).is_plain


def test_callbacks_chains_and_chords_are_seen(app: Celery, written: Callable[[], bytes]) -> None:
    other = app.signature("other", ignore_result=True)
    sends: dict[str, Callable[[], Any]] = {
        "callbacks": lambda: _sig(app).apply_async(link=other),
        "errbacks": lambda: _sig(app).apply_async(link_error=other),
        "chain": lambda: chain(_sig(app), other, app=app).apply_async(),
    }
    for name, send in sends.items():
        send()
        embed = Envelope.decode(written()).arguments.embed
        assert [key for key, value in embed.items() if value] == [name]


def test_a_member_of_a_group_is_plain_and_of_a_chord_is_not(
    app: Celery, written: Callable[[], bytes]
) -> None:
    app.send_task("clip.classify", group_id="g")
    member = Envelope.decode(written())
    app.send_task("clip.classify", group_id="g", chord=app.signature("other"))
    of_chord = Envelope.decode(written())

    assert member.is_plain
    assert member.headers["group"] == "g"
    assert of_chord.arguments.embed["chord"]


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_a_compressed_task_is_read_as_any_other(
    app: Celery, written: Callable[[], bytes], compression: str
) -> None:
    app.send_task("clip.classify", kwargs={"labels": ["ä"] * 50}, compression=compression)

    envelope = Envelope.decode(written())

    assert envelope.is_plain
    assert envelope.arguments.kwargs == {"labels": ["ä"] * 50}
