"""The client without a server: what it sends, and what it rejects before sending."""

from __future__ import annotations

import itertools

import pytest
from support.failure import code_of, failure_of
from support.sent_messages import IMAGE, LABELS

from clip_worker import Client
from clip_worker.contract import CLASSIFY, CLASSIFY_MANY, SENT_AT_HEADER, ClassifyRequest, parse
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys
from clip_worker.errors import InvalidRequestError, QueueUnavailableError
from worker.cli.demo.redis_server import find_free_port

# --- what is sent ---


def test_a_request_is_sent_with_the_given_options(client, sent):
    options = {"labels": LABELS, "k": 2, "threshold": 0.5}
    handle = client.classify(IMAGE, **options)
    assert (sent.tasks, sent.ids) == ([CLASSIFY], [handle.id])
    assert repr(handle) == f"Handle({handle.id!r})"
    assert sent.arguments[0].items() >= {"image": IMAGE, **options}.items()
    assert sent[0]["headers"][SENT_AT_HEADER] > 1_600_000_000
    # and a worker reads the same request
    expected = parse(ClassifyRequest, {"image": IMAGE, **options})
    assert parse(ClassifyRequest, sent.arguments[0]) == expected


def test_an_argument_that_is_none_is_not_sent(client, sent):
    client.classify(IMAGE, None, label_set="animals", template=None, deadline=None)
    [arguments] = sent.arguments
    assert not {"labels", "template", "deadline"} & set(arguments)
    assert arguments["label_set"] == "animals"


@pytest.fixture
def no_results(monkeypatch):
    """A wait for results ends with `StopAsyncIteration`."""

    def nothing(handles, *, timeout):
        raise StopAsyncIteration

    monkeypatch.setattr("clip_worker.client.outcome_stream.as_completed", nothing)


@pytest.mark.usefixtures("no_results")
def test_every_keyword_is_an_option_of_the_contract_or_of_sending(client, sent):
    given = {
        "k": 3,
        "templates": ["a {}", "the {}"],
        "score": "cosine",
        "none_of_these": True,
        "threshold": -0.25,
        "deadline": 2e9,
        "return_embedding": True,
    }
    sending = {"priority": 3, "expires_s": 60.0, "tenant": "org:42"}

    client.classify(IMAGE, LABELS, **given, **sending, task_id="photo:1")
    client.submit_many([IMAGE], LABELS, **given, **sending)
    with pytest.raises(StopAsyncIteration):
        next(client.classify_many([IMAGE], LABELS, **given, **sending))

    assert sent.tasks == [CLASSIFY, CLASSIFY, CLASSIFY_MANY]
    for arguments in sent.arguments:
        assert arguments.items() >= {"labels": LABELS, **given}.items()
    for message in sent:
        assert message["properties"]["priority"] == 3
        assert message["headers"]["expires"]
        assert message["headers"]["clip_tenant"] == "org:42"


@pytest.mark.parametrize("tenant", ["", "M\u00fcller", "a b", "x" * 65, 7, b"acme", "a\n"])
def test_a_tenant_that_workers_would_refuse_is_not_sent(client, sent, tenant):
    with pytest.raises(InvalidRequestError, match=r"tenant is .*; pass 1 to 64 letters, digits"):
        client.classify(IMAGE, LABELS, tenant=tenant)
    assert sent == []


def test_a_chosen_id_is_the_tasks_and_marks_its_message(client, sent):
    handle = client.classify(IMAGE, LABELS, task_id="photo:1")
    requests = [IMAGE, {"image": IMAGE, "task_id": "photo:2"}]
    plain, chosen = client.submit_many(requests, LABELS)

    assert (handle.id, chosen.id) == ("photo:1", "photo:2")
    assert sent.ids == ["photo:1", plain.id, "photo:2"]
    keys = QueueKeys(DEFAULT_QUEUE)
    assert sent.markers == [keys.sent("photo:1"), "", keys.sent("photo:2")]


@pytest.mark.parametrize("task_id", ["", 7, "with space", 'quo"te', "ü", 201 * "x"])
def test_an_id_that_can_not_be_a_tasks_is_rejected(client, sent, task_id):
    failure = failure_of(client.classify, IMAGE, LABELS, task_id=task_id)
    assert failure.code == "BAD_TASK_ID"
    assert "pass 1 to 200 letters" in failure.message
    [many] = [failure_of(client.submit_many, [{"image": IMAGE, "task_id": task_id}], LABELS)]
    assert many.code == "BAD_TASK_ID"
    assert sent == []


@pytest.mark.usefixtures("no_results")
def test_many_images_are_sent_in_chunks_with_a_limited_number_in_flight(client, sent):
    # given an endless source of images, and no results
    read = []

    def images():
        for index in itertools.count():
            read.append(index)
            yield f"https://example.org/{index}.jpg"

    outcomes = client.classify_many(images(), LABELS, chunk=3, in_flight=4)
    assert read == []
    # when
    with pytest.raises(StopAsyncIteration):
        next(outcomes)
    # then
    assert sent.tasks == [CLASSIFY_MANY] * 4
    assert [len(arguments["images"]) for arguments in sent.arguments] == [3] * 4
    assert len(read) == 12


def test_many_requests_are_sent_in_order_each_in_its_own_message(client, sent):
    own = {"image": "data:,x", "labels": ["tree"], "k": 1}
    handles = client.submit_many([IMAGE, own, " data:,y "], LABELS, k=2, priority=3, expires_s=60)
    assert [handle.id for handle in handles] == sent.ids
    assert [message["properties"]["priority"] for message in sent] == [3, 3, 3]
    assert all(message["headers"]["expires"] for message in sent)
    requests = [(given["image"], given["labels"], given["k"]) for given in sent.arguments]
    assert requests == [(IMAGE, LABELS, 2), ("data:,x", ["tree"], 1), ("data:,y", LABELS, 2)]


def test_requests_that_all_have_their_own_labels_need_no_shared_ones(client, sent):
    client.submit_many({"image": IMAGE, "labels": [str(n)]} for n in range(3))
    assert [given["labels"] for given in sent.arguments] == [["0"], ["1"], ["2"]]
    assert client.submit_many([]) == []


def test_the_error_has_the_ids_of_tasks_that_were_sent_before_redis_failed(client, sent):
    sent.error, sent.fails_after = QueueUnavailableError("Redis is away."), 2
    error = failure_of(client.submit_many, [IMAGE] * 5, LABELS)
    assert list(error.sent) == sent.ids
    assert len(sent) == 2


# --- what is rejected before anything is sent ---


@pytest.mark.parametrize(
    ("requests", "options", "sentence"),
    [
        ([IMAGE, "cat.jpg"], {"labels": LABELS}, "^Request 1: 'cat.jpg' is not a URI"),
        ([IMAGE], {}, "^Request 0: There are no labels"),
        ([{"image": IMAGE, "labels": ["a"]}, IMAGE], {}, "^Request 1: There are no labels"),
        ([{"labels": LABELS}], {}, "^Request 0: 'image' is missing"),
        ([{"image": IMAGE, "lables": LABELS}], {"labels": LABELS}, "Unknown option 'lables'"),
        ([7], {"labels": LABELS}, "^Request 0: The image is 7; pass its URI"),
        ([IMAGE], {"labels": LABELS, "priority": 10}, "priority is 10; pass 0"),
        ([IMAGE], {"labels": LABELS, "priority": 1.5}, "priority is 1.5; pass 0"),
        ([IMAGE], {"labels": LABELS, "expires_s": 0}, "expires_s is 0; pass a number"),
        ([IMAGE], {"labels": LABELS, "expires_s": float("nan")}, "expires_s is nan; pass"),
    ],
)
def test_one_invalid_request_of_many_is_named_and_none_is_sent(
    client, sent, requests, options, sentence
):
    with pytest.raises(InvalidRequestError, match=sentence):
        client.submit_many(requests, **options)
    assert sent == []


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.classify("cat.jpg", LABELS), "BAD_URI"),
        (lambda client: client.classify(IMAGE), "NO_LABELS"),
        (lambda client: client.classify(IMAGE, LABELS, k=0), "BAD_K"),
        (lambda client: client.classify(IMAGE, LABELS, template="none"), "BAD_TEMPLATE"),
        (lambda client: client.submit_many([{"image": IMAGE, "kk": 1}], LABELS), "INVALID_REQUEST"),
        (lambda client: client.classify_many([IMAGE], LABELS, k=0), "BAD_K"),
        (lambda client: client.classify_many([IMAGE], []), "NO_LABELS"),
        (lambda client: client.put_label_set("animals", []), "NO_LABELS"),
        (lambda client: client.put_label_set("animals", ["cat", "cat"]), "DUPLICATE_LABEL"),
        (lambda client: client.put_label_set("", LABELS), "INVALID_REQUEST"),
        (lambda client: client.put_label_set("x" * 201, LABELS), "INVALID_REQUEST"),
    ],
)
def test_an_invalid_request_is_not_sent(client, sent, call, code):
    assert code_of(call, client) == code
    assert sent == []


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"chunk": 513}, {"in_flight": 0}])
def test_a_chunk_size_is_checked_before_the_first_image_is_read(client, sent, wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(InvalidRequestError, match=f"{name} is {value}; pass 1 to"):
        client.classify_many([IMAGE], LABELS, **wrong)
    assert sent == []


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"max_queue_length": 0}, "max_queue_length is 0; pass 1 or more"),
        ({"max_queue_length": 9, "when_full": "drop"}, "'drop'; pass 'error' or 'wait'"),
    ],
)
def test_an_invalid_queue_limit_is_rejected_at_once(limit, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        Client(**limit)


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:6379", "http://localhost", "amqp://h", "sentinel://h"),
        "redis://localhost:port/0",
    ],
)
def test_an_invalid_url_is_rejected_at_once(url):
    error = failure_of(Client, url)
    assert error.code == "BAD_REDIS_URL"
    assert repr(url) in error.message


# --- an unreachable Redis ---


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.ping(),
        lambda client: client.upload(b"picture"),
        lambda client: client.put_label_set("animals", LABELS),
        lambda client: client.get_label_set("animals"),
        lambda client: client.classify(IMAGE, LABELS),
        lambda client: next(client.classify_many([IMAGE], LABELS)),
        lambda client: client.submit_many([IMAGE], LABELS),
        lambda client: client.handle("some-id").state,
        lambda client: client.dead_letters.ids(),
    ],
    ids=["ping", "upload", "labels", "set", "classify", "many", "submit_many", "state", "dead"],
)
def test_an_unreachable_redis_is_named(call, monkeypatch):
    monkeypatch.setattr("redis.retry.sleep", lambda _: None)
    port = find_free_port()
    with Client(f"redis://127.0.0.1:{port}/0") as client:
        error = failure_of(call, client)
    assert (type(error), error.code) == (QueueUnavailableError, "QUEUE_UNAVAILABLE")
    assert f"127.0.0.1:{port}" in error.message
