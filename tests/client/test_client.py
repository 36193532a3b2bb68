"""The client without a server: what it refuses by itself, and what it would send."""

from __future__ import annotations

import itertools
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.kept_messages import IMAGE, LABELS, Post

from worker.client import Client
from worker.contract import CLASSIFY, CLASSIFY_MANY, SENT_AT_HEADER, ClassifyRequest, parse
from worker.errors import InvalidRequestError, QueueUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
    monkeypatch.setattr(client._submission, "_publisher", post)
    return post


# --- what is sent ---


def test_a_question_is_sent_as_given_and_nothing_more(client: Client, post: Post) -> None:
    handle = client.classify(IMAGE, LABELS, k=2, threshold=0.5)
    [message], [arguments] = post.sent, post.arguments
    assert (post.tasks, handle.id) == ([CLASSIFY], message["headers"]["id"])
    assert arguments.items() >= {"image": IMAGE, "labels": LABELS, "k": 2, "threshold": 0.5}.items()
    assert message["headers"][SENT_AT_HEADER] > 1_600_000_000
    # and a worker reads out of it what the client was asked
    assert parse(ClassifyRequest, arguments) == parse(
        ClassifyRequest, {"image": IMAGE, "labels": LABELS, "k": 2, "threshold": 0.5}
    )


def test_an_argument_that_is_none_counts_as_not_given(client: Client, post: Post) -> None:
    client.classify(IMAGE, None, label_set="animals", template=None, deadline=None)
    [arguments] = post.arguments
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

    monkeypatch.setattr("worker.client.outcome_stream.as_completed", nothing)
    outcomes = client.classify_many(pictures(), LABELS, chunk=3, in_flight=4)
    assert drawn == []
    with pytest.raises(StopAsyncIteration):
        next(outcomes)
    # then
    assert post.tasks == [CLASSIFY_MANY] * 4
    assert [len(arguments["images"]) for arguments in post.arguments] == [3] * 4
    assert len(drawn) == 12


def test_many_requests_are_sent_in_their_order_each_with_its_own_message(
    client: Client, post: Post
) -> None:
    own = {"image": "data:,x", "labels": ["tree"], "k": 1}
    handles = client.submit_many([IMAGE, own, " data:,y "], LABELS, k=2, priority=3, expires_s=60)
    assert [handle.id for handle in handles] == [m["headers"]["id"] for m in post.sent]
    assert [m["properties"]["priority"] for m in post.sent] == post.priorities == [3, 3, 3]
    assert all(m["headers"]["expires"] for m in post.sent)
    asked = [(given["image"], given["labels"], given["k"]) for given in post.arguments]
    assert asked == [(IMAGE, LABELS, 2), ("data:,x", ["tree"], 1), ("data:,y", LABELS, 2)]


def test_of_requests_that_all_have_their_own_labels_none_need_be_shared(
    client: Client, post: Post
) -> None:
    client.submit_many({"image": IMAGE, "labels": [str(n)]} for n in range(3))
    assert [given["labels"] for given in post.arguments] == [["0"], ["1"], ["2"]]
    assert client.submit_many([]) == []


def test_what_was_sent_before_redis_failed_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a publisher that fails after two
    sent: list[str] = []

    class Failing:
        def send(self, messages: Iterable[str], count: int, priority: int) -> Iterator[int]:
            both = itertools.islice(messages, 2)
            sent.extend(json.loads(message)["headers"]["id"] for message in both)
            yield 2
            raise QueueUnavailableError("Redis is away.")

    monkeypatch.setattr(client._submission, "_publisher", Failing())
    with pytest.raises(QueueUnavailableError) as caught:
        client.submit_many([IMAGE] * 5, LABELS)
    assert list(caught.value.sent) == sent
    assert len(sent) == 2


# --- what is refused before anything is sent ---


@pytest.mark.parametrize(
    ("requests", "options", "sentence"),
    [
        ([IMAGE, "cat.jpg"], {"labels": LABELS}, "^Request 1: 'cat.jpg' is no URI"),
        ([IMAGE], {}, "^Request 0: There are no labels"),
        ([{"image": IMAGE, "labels": ["a"]}, IMAGE], {}, "^Request 1: There are no labels"),
        ([{"labels": LABELS}], {}, "^Request 0: 'image' is missing"),
        ([{"image": IMAGE, "lables": LABELS}], {"labels": LABELS}, "no option 'lables'"),
        ([7], {"labels": LABELS}, "^Request 0: The image is 7; give its URI"),
        ([IMAGE], {"labels": LABELS, "priority": 10}, "priority is 10; give 0"),
        ([IMAGE], {"labels": LABELS, "priority": 1.5}, "priority is 1.5; give 0"),
        ([IMAGE], {"labels": LABELS, "expires_s": 0}, "expires_s is 0; give a number"),
        ([IMAGE], {"labels": LABELS, "expires_s": float("nan")}, "expires_s is nan; give"),
    ],
)
def test_of_many_requests_one_wrong_one_is_named_and_none_is_sent(
    client: Client, post: Post, requests: list[Any], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        client.submit_many(requests, **options)
    assert post.sent == []


@pytest.mark.parametrize(
    ("bound", "sentence"),
    [
        ({"max_queue_length": 0}, "max_queue_length is 0; give 1 or more"),
        ({"max_queue_length": 9, "when_full": "drop"}, "when_full is 'drop'"),
    ],
)
def test_a_wrong_bound_is_refused_at_once(bound: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        Client(**bound)


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
        lambda client: client.submit_many([IMAGE], LABELS),
        lambda client: client.handle("some-id").state,
        lambda client: client.dead_letters.ids(),
    ],
    ids=["ping", "upload", "labels", "classify", "classify_many", "submit_many", "state", "dead"],
)
def test_a_redis_that_is_not_there_is_named(
    client: Client, free_port: int, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.retry.sleep", lambda _: None)
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
