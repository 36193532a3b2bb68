"""The client without a server: what it refuses by itself, and what it would send."""

from __future__ import annotations

import itertools
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from worker.client import Client
from worker.contract import CLASSIFY, CLASSIFY_MANY, SENT_AT_HEADER, ClassifyRequest, parse
from worker.errors import InvalidRequestError, QueueUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "https://example.org/cat.jpg"
LABELS = ["cat", "dog"]


class Post:
    """Stands for Celery's `send_task`: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def __call__(self, name: str, *, kwargs: dict[str, Any], **options: Any) -> SimpleNamespace:
        self.sent.append((name, kwargs, options))
        return SimpleNamespace(id=f"id-{len(self.sent)}")


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def client(free_port: int) -> Iterator[Client]:
    with Client(f"redis://127.0.0.1:{free_port}/0") as client:
        yield client


@pytest.fixture
def post(client: Client, monkeypatch: pytest.MonkeyPatch) -> Post:
    post = Post()
    monkeypatch.setattr(client._app, "send_task", post)
    return post


# --- what is sent ---


def test_a_question_is_sent_as_given_and_nothing_more(client: Client, post: Post) -> None:
    handle = client.classify(IMAGE, LABELS, k=2, threshold=0.5)
    [(name, arguments, options)] = post.sent
    assert (name, handle.id) == (CLASSIFY, "id-1")
    assert (
        arguments.items()
        >= {
            "image": IMAGE,
            "labels": LABELS,
            "k": 2,
            "threshold": 0.5,
        }.items()
    )
    assert options["headers"][SENT_AT_HEADER] > 1_600_000_000
    # and a worker reads out of it what the client was asked
    assert parse(ClassifyRequest, arguments) == parse(
        ClassifyRequest, {"image": IMAGE, "labels": LABELS, "k": 2, "threshold": 0.5}
    )


def test_an_argument_that_is_none_counts_as_not_given(client: Client, post: Post) -> None:
    client.classify(IMAGE, None, label_set="animals", template=None, deadline=None)
    [(_, arguments, _)] = post.sent
    assert not {"labels", "template", "deadline"} & set(arguments)
    assert arguments["label_set"] == "animals"


def test_many_pictures_are_sent_in_chunks_and_no_more_than_are_under_way(
    client: Client, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an endless source, and answers that never come
    drawn: list[int] = []

    def pictures() -> Iterator[str]:
        for index in itertools.count():
            drawn.append(index)
            yield f"https://example.org/{index}.jpg"

    def nothing(handles: list[Any], *, timeout: float | None) -> Iterator[Any]:
        raise StopAsyncIteration

    monkeypatch.setattr("worker.client.as_completed", nothing)
    outcomes = client.classify_many(pictures(), LABELS, chunk=3, in_flight=4)
    assert drawn == []
    with pytest.raises(StopAsyncIteration):
        next(outcomes)
    # then
    assert [name for name, _, _ in post.sent] == [CLASSIFY_MANY] * 4
    assert [len(arguments["images"]) for _, arguments, _ in post.sent] == [3] * 4
    assert len(drawn) == 12


# --- what is refused before anything is sent ---


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"image": "cat.jpg", "labels": LABELS}, "BAD_URI"),
        ({"image": IMAGE}, "NO_LABELS"),
        ({"image": IMAGE, "labels": []}, "NO_LABELS"),
        ({"image": IMAGE, "labels": LABELS, "k": 0}, "BAD_K"),
        ({"image": IMAGE, "labels": LABELS, "template": "none"}, "BAD_TEMPLATE"),
        ({"image": IMAGE, "labels": LABELS, "tempalte": "{}"}, "INVALID_REQUEST"),
    ],
)
def test_a_wrong_request_is_not_sent(
    client: Client, post: Post, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.classify(**arguments)
    assert (caught.value.code, post.sent) == (code, [])


@pytest.mark.parametrize(
    ("options", "code"),
    [({"k": 0}, "BAD_K"), ({"chunk": 513}, "INVALID_REQUEST"), ({"labels": []}, "NO_LABELS")],
)
def test_a_wrong_question_about_many_pictures_is_not_sent(
    client: Client, post: Post, options: dict[str, Any], code: str
) -> None:
    question = {"labels": LABELS} | options
    with pytest.raises(InvalidRequestError) as caught:
        list(client.classify_many([IMAGE] * 600, **question))
    assert (caught.value.code, post.sent) == (code, [])


@pytest.mark.parametrize("labels", [[], ["cat", "cat"], [" "], "cat", [5]])
def test_wrong_labels_are_not_stored_as_a_set(client: Client, labels: Any) -> None:
    with pytest.raises(InvalidRequestError):
        client.put_label_set("animals", labels)


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://localhost", "", "redis://localhost:port/0"]
)
def test_a_wrong_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Client(url)
    assert caught.value.code == "BAD_REDIS_URL"


# --- a Redis that is not there ---


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.ping(),
        lambda client: client.upload(b"picture"),
        lambda client: client.put_label_set("animals", LABELS),
        lambda client: client.classify(IMAGE, LABELS),
        lambda client: next(client.classify_many([IMAGE], LABELS)),
        lambda client: client.handle("some-id").state,
    ],
    ids=["ping", "upload", "put_label_set", "classify", "classify_many", "state"],
)
def test_a_redis_that_is_not_there_is_named(
    client: Client, free_port: int, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.client.PUBLISH_RETRY", {"max_retries": 0})
    with pytest.raises(QueueUnavailableError) as caught:
        call(client)
    assert caught.value.code == "QUEUE_UNAVAILABLE"
    assert f"127.0.0.1:{free_port}" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_handle_shows_its_id(client: Client) -> None:
    assert repr(client.handle("some-id")) == "Handle('some-id')"


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"chunk": 513}, {"in_flight": 0}])
def test_a_wrong_size_of_chunks_is_refused_before_the_first_picture_is_asked_for(
    client: Client, post: Post, wrong: dict[str, int]
) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(InvalidRequestError, match=f"{name} is {value}; give 1 to"):
        client.classify_many([IMAGE], LABELS, **wrong)
    assert post.sent == []


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_label_set_whose_name_no_task_could_give_is_not_stored(client: Client, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="label_set"):
        client.put_label_set(name, LABELS)
