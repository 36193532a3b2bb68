"""RequestCache that come again: written once, and never taken for another."""

from __future__ import annotations

import enum
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from worker.contract import ClassifyRequest, parse
from worker.contract import request_cache as module
from worker.contract.message_writer import EncodedRequest
from worker.contract.request_cache import MOST_CHARACTERS, MOST_KEPT, RequestCache
from worker.errors import InvalidRequestError

IMAGE = "https://example.org/cat.jpg"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was validated as a whole."""
    seen: list[Any] = []

    def watched(kind: Any, asked: Any) -> Any:
        seen.append(asked)
        return parse(kind, asked)

    monkeypatch.setattr(module, "parse", watched)
    return seen


def about(questions: RequestCache[EncodedRequest], asked: Any) -> object:
    question, image = questions.read(asked)
    return question.with_image(image)


def plain(asked: dict[str, Any]) -> object:
    """What it is without anything kept."""
    request = parse(ClassifyRequest, asked)
    return EncodedRequest(request).with_image(request.image)


def test_the_same_question_about_another_picture_is_not_validated_again(parsed: list[Any]) -> None:
    questions = RequestCache(EncodedRequest)
    for i in range(5):
        asked = {"labels": ["a", "b"], "k": 1, "image": f"https://example.org/{i}.jpg"}
        assert about(questions, asked) == plain(asked)
    assert len(parsed) == 1


@pytest.mark.parametrize(
    "others",
    [
        [{"labels": ["a", "b"], "k": 1}, {"labels": ["b", "a"], "k": 1}],
        [{"labels": ["a", "b"], "k": 1}, {"labels": ["a", "b"], "k": 2}],
        [{"labels": ["a", "b"]}, {"labels": ["a", "b"], "k": 5}],
        [{"labels": ["a"], "template": "{}"}, {"labels": ["a"], "templates": ["{}"]}],
        [{"labels": ["a"], "threshold": 0.5}, {"labels": ["a"], "threshold": 0.25}],
        [{"labels": ["ab"]}, {"labels": ["a", "b"]}],
        [{"label_set": "a"}, {"labels": ["a"]}],
        [{"labels": ["a"], "threshold": 1}, {"labels": ["a"], "threshold": 1.0}],
        [{"labels": ["a"], "return_embedding": True}, {"labels": ["a"], "return_embedding": False}],
    ],
)
def test_different_questions_stay_different(others: list[dict[str, Any]]) -> None:
    questions = RequestCache(EncodedRequest)
    for _ in range(2):
        for other in others:
            asked = {"image": IMAGE, **other}
            assert about(questions, asked) == plain(asked)


class Animal(enum.StrEnum):
    """Equal to a string, and hashed like one."""

    CAT = "cat"


@pytest.mark.parametrize(
    ("right", "wrong"),
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
def test_a_wrong_question_is_refused_though_one_that_is_like_it_was_right(
    right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    questions = RequestCache(EncodedRequest)
    about(questions, {"image": IMAGE, **right})
    with pytest.raises(InvalidRequestError) as alone:
        parse(ClassifyRequest, {"image": IMAGE, **wrong})
    for _ in range(2):
        with pytest.raises(InvalidRequestError) as caught:
            about(questions, {"image": IMAGE, **wrong})
        assert caught.value.args == alone.value.args


def test_what_is_equal_to_a_string_and_is_none_is_validated_each_time(parsed: list[Any]) -> None:
    questions = RequestCache(EncodedRequest)
    about(questions, {"image": IMAGE, "labels": ["cat"]})
    for _ in range(2):
        about(questions, {"image": IMAGE, "labels": [Animal.CAT]})
    assert len(parsed) == 3


@pytest.mark.parametrize("image", ["cat.jpg", "", "file:cat.jpg", 5, None, b"https://x/y.jpg"])
def test_a_wrong_picture_is_told_in_the_same_words_the_second_time(image: Any) -> None:
    questions = RequestCache(EncodedRequest)
    with pytest.raises(InvalidRequestError) as first:
        about(questions, {"image": image, "labels": ["a"]})
    about(questions, {"image": IMAGE, "labels": ["a"]})
    with pytest.raises(InvalidRequestError) as second:
        about(questions, {"image": image, "labels": ["a"]})
    assert second.value.args == first.value.args


def test_a_question_without_a_picture_is_told(parsed: list[Any]) -> None:
    questions = RequestCache(EncodedRequest)
    about(questions, {"image": IMAGE, "labels": ["a"]})
    with pytest.raises(InvalidRequestError, match="'image' is missing"):
        about(questions, {"labels": ["a"]})
    assert len(parsed) == 2


def test_as_many_are_kept_as_there_are_places_and_the_last_used_stay(parsed: list[Any]) -> None:
    # given one more than there are places, and the first used again before the last came
    questions = RequestCache(EncodedRequest)
    asked = [{"image": IMAGE, "labels": [str(i)]} for i in range(MOST_KEPT + 1)]
    for one in [*asked[:-1], asked[0], asked[-1]]:
        about(questions, one)
    parsed.clear()
    # then the second has gone
    for one in (asked[0], asked[-1], asked[2]):
        about(questions, one)
    assert parsed == []
    about(questions, asked[1])
    assert parsed == [asked[1]]


def test_a_question_with_a_deadline_takes_nobodys_place(parsed: list[Any]) -> None:
    questions = RequestCache(EncodedRequest)
    about(questions, {"image": IMAGE, "labels": ["a"]})
    for i in range(MOST_KEPT):
        about(questions, {"image": IMAGE, "labels": ["a"], "deadline": 2e9 + i})
    parsed.clear()
    about(questions, {"image": IMAGE, "labels": ["a"]})
    assert parsed == []


def test_a_very_long_question_is_not_kept(parsed: list[Any]) -> None:
    questions = RequestCache(EncodedRequest)
    labels = [f"label number {i}" for i in range(MOST_CHARACTERS // 10)]
    for _ in range(2):
        assert about(questions, {"image": IMAGE, "labels": labels})
    assert len(parsed) == 2


def test_threads_share_it() -> None:
    questions = RequestCache(EncodedRequest)
    asked = [{"image": IMAGE, "labels": [str(i % 50)], "k": 1 + i % 3} for i in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: about(questions, one), asked)) == [
            plain(one) for one in asked
        ]
