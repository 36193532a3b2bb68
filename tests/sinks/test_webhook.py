from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from support.ports import free_port
from support.scripted_server import response
from support.sink_rows import failed_row, row
from support.webhook_receiver import BROKEN, OK, SECRET, Receiver, receiver

from clip_worker import verify_signature
from clip_worker.contract.webhooks import signing_key
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.sinks.open import SECRET_VARIABLE, open_sink
from clip_worker.sinks.record import record
from clip_worker.sinks.webhook import WebhookSink, event_id_of

BUSY = response(status="503 Service Unavailable", Retry_After="20")


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as here:
        yield here


def begun(
    url: str, wait: Callable[[float], bool] | None = None, position: str | None = None
) -> WebhookSink:
    sink = WebhookSink(url, [signing_key(SECRET)], wait=wait)
    sink.open(position)
    return sink


def test_each_row_is_posted_and_signed(here: Receiver) -> None:
    sink = begun(here.url())
    sink.write([row(number) for number in range(20)])
    sink.write([failed_row(20)])
    position = sink.commit()
    sink.close()
    sink.close()

    bodies = {}
    for each in here.received:
        event_id = verify_signature(each.body, each.headers, SECRET)
        bodies[event_id] = json.loads(each.body)
    assert len(bodies) == 21
    assert bodies[event_id_of(position, "photo-000003.jpg")] == record(row(3))
    assert here.received[0].path == "/hooks/clip?token=hidden"


def test_a_row_that_is_posted_again_after_a_crash_has_the_same_id(here: Receiver) -> None:
    sink = begun(here.url())
    position = sink.commit()
    sink.write([row(1)])
    sink.close()
    again = begun(here.url(), position=position)
    again.write([row(1)])
    again.close()
    other = begun(here.url())
    other.write([row(1)])
    other.close()

    first, second, third = [each.headers["webhook-id"] for each in here.received]
    assert first == second
    assert first != third


def test_a_post_is_repeated_until_it_arrives_with_pauses_as_long_as_asked(here: Receiver) -> None:
    here.answer = BROKEN
    pauses: list[float] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        here.answer = BUSY if len(pauses) == 1 else OK
        return False

    sink = begun(here.url(), wait)
    sink.write([row(1)])
    sink.close()

    assert pauses == [1.0, 20.0]
    assert len({each.headers["webhook-id"] for each in here.received}) == 1
    assert len(here.received) == 3


def test_a_post_that_never_arrives_is_one_sentence_without_the_urls_secrets(
    here: Receiver,
) -> None:
    here.answer = BROKEN
    sink = begun(here.url(), lambda _: False)
    with pytest.raises(ServiceError, match="answered with status 500; mend the receiver") as caught:
        sink.write([row(1)])
    sink.close()
    assert caught.value.code == "SINK_FAILED"
    assert "hidden" not in caught.value.message
    assert len(here.received) == 11


def test_a_refusal_is_not_repeated(here: Receiver) -> None:
    here.answer = response(status="410 Gone")
    sink = begun(here.url())
    with pytest.raises(ServiceError, match="status 410"):
        sink.write([row(1)])
    sink.close()
    assert len(here.received) == 1


def test_a_redirect_is_not_followed(here: Receiver) -> None:
    here.answer = response(status="302 Found", Location=here.url("/elsewhere"))
    sink = begun(here.url(), lambda _: True)
    with pytest.raises(ServiceError, match="status 302"):
        sink.write([row(1)])
    sink.close()
    assert [each.path for each in here.received] == ["/hooks/clip?token=hidden"]


def test_nobody_at_the_url_is_one_sentence() -> None:
    sink = begun(f"http://127.0.0.1:{free_port()}/", lambda _: True)
    with pytest.raises(ServiceError, match="the server can't be reached"):
        sink.write([row(1)])
    sink.close()


def test_a_webhook_needs_a_valid_url_and_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    url = "https://example.com/hook"
    assert isinstance(open_sink(url, webhook_secret=f"{SECRET},{SECRET}"), WebhookSink)
    with pytest.raises(InvalidRequestError, match="set CLIP_WORKER_WEBHOOK_SECRET"):
        open_sink(url)
    with pytest.raises(InvalidRequestError, match="CLIP_WORKER_WEBHOOK_SECRET is not") as caught:
        open_sink(url, webhook_secret="whsec_hidden")
    assert "hidden" not in caught.value.message
    with pytest.raises(InvalidRequestError) as caught:
        open_sink("https://me:hidden@example.com/", webhook_secret=SECRET)
    assert "hidden" not in caught.value.message


def test_each_row_arrives_under_one_id_after_fifty_kills(
    here: Receiver, killed_runs: Callable[..., int]
) -> None:
    total = killed_runs(here.url(), options={"webhook_secret": SECRET})

    posted: dict[str, set[str]] = {}
    for each in here.received:
        posted.setdefault(json.loads(each.body)["key"], set()).add(each.headers["webhook-id"])
    assert {f"photo-{number:06}.jpg" for number in range(total)} <= set(posted)
    assert all(len(ids) == 1 for ids in posted.values())
