"""Cached requests: validated once, and never confused with others."""

from __future__ import annotations

import enum
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.failure import failure_of

from clip_worker.contract import ClassifyRequest, parse
from clip_worker.contract import request_cache as module
from clip_worker.contract.message_writer import EncodedRequest
from clip_worker.contract.request_cache import MOST_CHARACTERS, MOST_KEPT, RequestCache

IMAGE = "https://example.org/cat.jpg"


@pytest.fixture
def parsed(monkeypatch):
    """The requests that were validated as a whole."""
    parsed = []
    monkeypatch.setattr(
        module, "parse", lambda kind, given: parsed.append(given) or parse(kind, given)
    )
    return parsed


@pytest.fixture
def encode():
    """Encodes a request for an image, by a cache."""
    cache = RequestCache(EncodedRequest)

    def encode(request, image=IMAGE):
        encoded, uri, webhook = cache.read({"image": image, **request})
        return encoded.with_image(uri, webhook)

    return encode


def uncached(request, image=IMAGE):
    validated = parse(ClassifyRequest, {"image": image, **request})
    return EncodedRequest(validated).with_image(validated.image)


def test_a_request_for_another_image_is_not_validated_again(encode, parsed):
    for i in range(5):
        request, image = {"labels": ["a", "b"], "k": 1}, f"https://example.org/{i}.jpg"
        assert encode(request, image) == uncached(request, image)
    assert len(parsed) == 1


def test_a_webhook_of_each_image_does_not_defeat_the_cache(encode, parsed):
    for i in range(5):
        webhook = f" https://example.org/hooks?id={i}&token=secret"
        arguments = encode({"labels": ["a"], "webhook": webhook})
        assert json.loads(arguments.encoded)["webhook"] == webhook.strip()
        assert "secret" not in arguments.shown
        assert "'webhook': 'https://example.org/hooks?...'" in arguments.shown
    assert len(parsed) == 1
    assert "webhook" not in json.loads(encode({"labels": ["a"]}).encoded)
    assert len(parsed) == 1


@pytest.mark.parametrize("webhook", ["ftp://example.org/", "https://u:p@example.org/", 7, b"x"])
def test_the_error_of_an_invalid_webhook_is_the_same_with_a_cached_request(encode, webhook):
    first = failure_of(encode, {"labels": ["a"], "webhook": webhook})
    encode({"labels": ["a"]})
    assert failure_of(encode, {"labels": ["a"], "webhook": webhook}).args == first.args
    assert first.code == "BAD_WEBHOOK"


@pytest.mark.parametrize(
    "others",
    [
        [{"labels": ["a", "b"], "k": 1}, {"labels": ["b", "a"], "k": 1}],
        [{"labels": ["a", "b"], "k": 1}, {"labels": ["a", "b"], "k": 2}],
        [{"labels": ["a", "b"]}, {"labels": ["a", "b"], "k": 5}],
        [{"labels": ["a"], "template": "{}"}, {"labels": ["a"], "templates": ["{}"]}],
        [{"labels": ["a"], "threshold": 0.5}, {"labels": ["a"], "threshold": 0.25}],
        [{"labels": ["a"], "score": "cosine"}, {"labels": ["a"], "score": "logit"}],
        [{"labels": ["a"], "none_of_these": True}, {"labels": ["a"]}],
        [{"labels": ["ab"]}, {"labels": ["a", "b"]}],
        [{"label_set": "a"}, {"labels": ["a"]}],
        [{"labels": ["a"], "threshold": 1}, {"labels": ["a"], "threshold": 1.0}],
        [{"labels": ["a"], "return_embedding": True}, {"labels": ["a"], "return_embedding": False}],
    ],
)
def test_different_requests_are_not_confused(encode, others):
    for request in others * 2:
        assert encode(request) == uncached(request)


@pytest.mark.parametrize(
    ("valid", "invalid"),
    [
        ({"labels": ["a"], "k": 1}, {"labels": ["a"], "k": True}),
        ({"labels": ["a"], "k": 1}, {"labels": ["a"], "k": 1.0}),
        ({"labels": ["a"], "return_embedding": True}, {"labels": ["a"], "return_embedding": 1}),
        ({"labels": ["a"]}, {"labels": "a"}),
        ({"labels": ["a"]}, {"labels": [b"a"]}),
        ({"labels": ["a"]}, {"labels": {"a": 1}}),
        ({"labels": ["a"]}, {"labels": ["a"], "k": None}),
    ],
)
def test_an_invalid_request_is_rejected_although_a_similar_one_was_valid(encode, valid, invalid):
    expected = failure_of(uncached, invalid).args
    encode(valid)
    for _ in range(2):
        assert failure_of(encode, invalid).args == expected


def test_a_value_that_only_equals_a_string_is_validated_each_time(encode, parsed):
    animal = enum.StrEnum("Animal", ["CAT"])
    for label in ("cat", animal.CAT, animal.CAT):
        encode({"labels": [label]})
    assert len(parsed) == 3


@pytest.mark.parametrize("image", ["cat.jpg", "", "file:cat.jpg", 5, None, b"https://x/y.jpg"])
def test_the_error_of_an_invalid_image_is_the_same_with_a_cached_request(encode, image):
    first = failure_of(encode, {"labels": ["a"]}, image)
    encode({"labels": ["a"]})
    assert failure_of(encode, {"labels": ["a"]}, image).args == first.args


def test_a_request_without_an_image_is_rejected(parsed):
    cache = RequestCache(EncodedRequest)
    cache.read({"image": IMAGE, "labels": ["a"]})
    assert "'image' is missing" in failure_of(cache.read, {"labels": ["a"]}).message
    assert len(parsed) == 2


def test_the_least_recently_used_request_is_dropped_when_the_cache_is_full(encode, parsed):
    # given one request too many, and the first one used again before the last
    requests = [{"labels": [str(i)]} for i in range(MOST_KEPT + 1)]
    for request in [*requests[:-1], requests[0], requests[-1]]:
        encode(request)
    parsed.clear()
    # then the second one was dropped
    for request in (requests[0], requests[-1], requests[2]):
        encode(request)
    assert parsed == []
    encode(requests[1])
    assert len(parsed) == 1


def test_requests_with_a_deadline_are_not_cached(encode, parsed):
    for options in ({}, *({"deadline": 2e9 + i} for i in range(MOST_KEPT))):
        encode({"labels": ["a"], **options})
    parsed.clear()
    encode({"labels": ["a"]})
    assert parsed == []


def test_a_very_long_request_is_not_cached(encode, parsed):
    labels = [f"label number {i}" for i in range(MOST_CHARACTERS // 10)]
    for _ in range(2):
        assert encode({"labels": labels})
    assert len(parsed) == 2


def test_threads_may_share_it(encode):
    requests = [{"labels": [str(i % 50)], "k": 1 + i % 3} for i in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(encode, requests)) == list(map(uncached, requests))
