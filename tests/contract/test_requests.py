"""Which requests are valid; one sentence for each fault, with a stable code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ValidationError
from support.answers import ANSWER
from support.failure import failure_of

from clip_worker.contract import (
    DEFAULT_TEMPLATE,
    MAX_IMAGES,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    MAX_TEMPLATES,
    ClassifyManyRequest,
    ClassifyRequest,
    Failure,
    Outcome,
    Prediction,
    UsedLabelSet,
    parse,
)
from clip_worker.errors import ImageInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE = "https://example.org/cat.jpg"
LABELS = ["cat", "dog"]
NODE = Prediction(label="animal", probability=1 / 3, index=0)
RESULT = ANSWER.model_copy(
    update={
        "predictions": (Prediction(label="animal > cat", probability=1 / 3, index=0, score=-0.25),),
        "embedding": (0.6, -0.8),
        "none_of_these": 2 / 3,
        "label_set": UsedLabelSet(name="pets", version="0123456789ab", calibration=None),
        "levels": ((NODE,), (NODE, NODE)),
    }
)


def refused(arguments: Mapping[str, Any], request: type[BaseModel] = ClassifyRequest):
    return failure_of(parse, request, arguments)


def asked(**changes: Any) -> dict[str, Any]:
    """A sound request with these changes; None leaves an argument out."""
    arguments = {"image": IMAGE, "labels": LABELS} | changes
    return {name: value for name, value in arguments.items() if value is not None}


# --- what is taken ---


def test_an_image_and_labels_are_sufficient():
    request = parse(ClassifyRequest, {"image": IMAGE, "labels": LABELS})
    assert (request.image, request.labels, request.k) == (IMAGE, ("cat", "dog"), 5)
    assert request.all_templates == (DEFAULT_TEMPLATE,)
    assert (request.threshold, request.deadline, request.return_embedding) == (None, None, False)
    assert (request.score, request.none_of_these) == ("softmax", False)


def test_one_template_and_several_are_taken_in_order():
    assert parse(ClassifyRequest, asked(template="{}!")).all_templates == ("{}!",)
    several = parse(ClassifyRequest, asked(templates=["{} a", "{} b"]))
    assert several.all_templates == ("{} a", "{} b")


def test_a_label_set_stands_for_labels():
    request = parse(ClassifyRequest, asked(labels=None, label_set="animals"))
    assert (request.labels, request.label_set) == (None, "animals")


@pytest.mark.parametrize(
    "changes",
    [
        *({"k": k} for k in (1, 10**9)),
        *({"threshold": threshold} for threshold in (0, 1, 0.25)),
        {"score": "sigmoid", "threshold": 1},
        {"score": "cosine", "threshold": -1, "none_of_these": True},
        *({"score": "logit", "threshold": threshold} for threshold in (-1e6, 27.5)),
        *({"deadline": deadline} for deadline in (1, 1_900_000_000.5)),
        {"return_embedding": True},
        {"labels": ["{}", "a {} b", "café", "猫", "🐈", "O'Hare"]},
        {"labels": ["x" * MAX_LABEL_CHARS]},
        {"labels": ["Cat", "cat", " cat"]},
        {"templates": ["{}"] * MAX_TEMPLATES},
        {"image": "data:image/gif;base64,R0lG"},
    ],
)
def test_valid_requests_are_accepted(changes):
    parse(ClassifyRequest, asked(**changes))


@pytest.mark.parametrize(
    "request_",
    [
        parse(ClassifyRequest, asked(score="cosine", none_of_these=True, threshold=-0.5)),
        parse(ClassifyRequest, asked(k=3, threshold=0.5, deadline=9.5, templates=["{}", "a {}"])),
        parse(ClassifyRequest, asked(labels=None, label_set="animals", return_embedding=True)),
        parse(ClassifyManyRequest, {"images": [IMAGE, "not a URI"], "labels": LABELS}),
    ],
)
def test_a_request_survives_json_with_and_without_its_defaults(request_):
    for exclude_none in (True, False):
        wire = json.dumps(request_.model_dump(mode="json", exclude_none=exclude_none))
        assert parse(type(request_), json.loads(wire)) == request_


@pytest.mark.parametrize(
    "result",
    [
        ANSWER,
        RESULT,
        Outcome(status="ok", result=RESULT),
        Outcome(status="error", error=Failure(type="T", code="C", message="M")),
    ],
)
def test_a_result_survives_json_bit_by_bit(result):
    wire = json.dumps(result.model_dump(mode="json"))
    assert type(result).model_validate(json.loads(wire)) == result


def test_a_failure_has_the_class_code_and_message_of_the_error():
    failure = Failure.of(ImageInvalidError("It is cut off.", "DECODE_TRUNCATED"))
    assert failure == Failure(
        type="ImageInvalidError", code="DECODE_TRUNCATED", message="It is cut off."
    )


def test_requests_and_answers_are_frozen():
    request = parse(ClassifyRequest, asked())
    for model in (request, ANSWER):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, next(iter(type(model).model_fields)), "other")


def test_the_callers_arguments_are_not_changed():
    arguments = asked(templates=["{}"])
    parse(ClassifyRequest, arguments)
    assert arguments == {"image": IMAGE, "labels": LABELS, "templates": ["{}"]}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        # labels
        ({"labels": None}, "NO_LABELS", ["labels=[...]", "label_set="]),
        ({"labels": []}, "NO_LABELS", ["at least one"]),
        *(({"labels": ["cat", blank]}, "BLANK_LABEL", [repr(blank)])
          for blank in ("", " \t\n ", "\u2003")),
        ({"labels": ["cat", "dog", "cat"]}, "DUPLICATE_LABEL", ["'cat'", "twice"]),
        ({"labels": "cat"}, "BAD_LABELS", ["'cat'", "list of strings"]),
        ({"labels": {"cat": 1}}, "BAD_LABELS", ["list of strings"]),
        ({"labels": 7}, "BAD_LABELS", ["7", "list of strings"]),
        ({"labels": ["cat", 7]}, "BAD_LABELS", ["labels.1", "7", "give a string"]),
        ({"labels": ["cat", ["dog"]]}, "BAD_LABELS", ["labels.1", "give a string"]),
        (
            {"labels": ["x" * (MAX_LABEL_CHARS + 1)]},
            "LABEL_TOO_LONG",
            [str(MAX_LABEL_CHARS + 1), str(MAX_LABEL_CHARS)],
        ),
        ({"labels": ["cat", "a \ud83d"]}, "BAD_LABELS", [r"'a \ud83d'", "lone surrogate"]),
        ({"label_set": "animals"}, "INVALID_REQUEST", ["'animals'", "one of the two"]),
        (
            {"labels": None, "label_set": "\udc08"},
            "INVALID_REQUEST",
            [r"label_set is '\udc08': it contains a lone"],
        ),
        ({"labels": None, "label_set": ""}, "INVALID_REQUEST", ["label_set", "''"]),
        ({"labels": None, "label_set": 5}, "INVALID_REQUEST", ["label_set", "5", "a string"]),
        ({"labels": None, "label_set": "x" * 201}, "INVALID_REQUEST", ["label_set", "200"]),
        # k
        *(({"k": k}, "BAD_K", [str(k), "1 or more"]) for k in (0, -3)),
        *(({"k": k}, "BAD_K", [repr(k), "an integer"]) for k in (True, 2.0, "3", [5])),
        # templates
        ({"template": "a photo"}, "BAD_TEMPLATE", ["'a photo'", "0 placeholders"]),
        ({"template": "{} and {}"}, "BAD_TEMPLATE", ["2 placeholders", "exactly one {}"]),
        ({"template": ""}, "BAD_TEMPLATE", ["''"]),
        ({"template": 5}, "BAD_TEMPLATE", ["5", "a string"]),
        ({"template": "{}" + "x" * MAX_LABEL_CHARS}, "BAD_TEMPLATE", [str(MAX_LABEL_CHARS)]),
        ({"template": "\ud83d {}"}, "BAD_TEMPLATE", [r"'\ud83d {}' contains a lone surrogate"]),
        (
            {"templates": ["{}", "{}\ud83d"]},
            "BAD_TEMPLATE",
            [r"'{}\ud83d' contains a lone surrogate"],
        ),
        ({"ensemble": "\ud83d"}, "BAD_TEMPLATE", [r"ensemble is '\ud83d': it contains a lone"]),
        ({"templates": []}, "BAD_TEMPLATE", ["at least one"]),
        ({"templates": "a {}"}, "BAD_TEMPLATE", ["'a {}'", "list of strings"]),
        ({"templates": ["a {}", "b"]}, "BAD_TEMPLATE", ["'b'", "0 placeholders"]),
        ({"templates": ["{}"] * (MAX_TEMPLATES + 1)}, "BAD_TEMPLATE", [str(MAX_TEMPLATES)]),
        ({"template": "{}", "templates": ["{}"]}, "BAD_TEMPLATE", ["template and templates"]),
        ({"template": "{}", "ensemble": "photo"}, "BAD_TEMPLATE", ["template and ensemble"]),
        ({"templates": ["{}"], "ensemble": "photo"}, "BAD_TEMPLATE", ["give only one"]),
        ({"ensemble": ""}, "BAD_TEMPLATE", ["ensemble is ''"]),
        ({"ensemble": ["photo"]}, "BAD_TEMPLATE", ["['photo']", "give a string"]),
        # scores
        ({"score": "Softmax"}, "BAD_SCORE", ["'Softmax'", "give 'softmax', 'sigmoid', 'cosine'"]),
        *(({"score": score}, "BAD_SCORE", [repr(score)]) for score in (5, ["cosine"], "")),
        ({"none_of_these": 1}, "INVALID_REQUEST", ["none_of_these is 1", "true or false"]),
        # a threshold is on the scale of the score
        *(({"threshold": threshold}, "INVALID_REQUEST", [str(threshold), "0 to 1", "'softmax'"])
          for threshold in (-0.1, 1.5)),
        *(({"score": score, "threshold": threshold}, "INVALID_REQUEST",
           [f"threshold is {threshold}; give a number from {least} to 1", score])
          for score, threshold, least in
          [("sigmoid", -0.5, 0), ("sigmoid", 1.5, 0), ("cosine", -1.5, -1), ("cosine", 2.5, -1)]),
        *(({"score": "logit", "threshold": threshold}, "INVALID_REQUEST", [str(threshold)])
          for threshold in (float("inf"), float("nan"))),
        ({"threshold": float("nan")}, "INVALID_REQUEST", ["threshold", "nan"]),
        ({"threshold": "0.5"}, "INVALID_REQUEST", ["threshold", "'0.5'", "a number"]),
        ({"threshold": True}, "INVALID_REQUEST", ["threshold", "True", "a number"]),
        ({"deadline": 0}, "INVALID_REQUEST", ["deadline", "0"]),
        ({"deadline": float("inf")}, "INVALID_REQUEST", ["deadline", "inf", "finite"]),
        ({"deadline": "tomorrow"}, "INVALID_REQUEST", ["'tomorrow'", "a number"]),
        ({"return_embedding": 1}, "INVALID_REQUEST", ["return_embedding", "1", "true or false"]),
        # image
        ({"image": None}, "BAD_URI", ["'image'", "missing"]),
        ({"image": ""}, "BAD_URI", ["''"]),
        ({"image": "cat.jpg"}, "BAD_URI", ["'cat.jpg'", "file://"]),
        ({"image": 5}, "BAD_URI", ["image is 5", "a string"]),
        ({"image": ["a", "b"]}, "BAD_URI", ["a string"]),
        # options that there are not
        (
            {"lables": ["cat"]},
            "INVALID_REQUEST",
            ["Unknown option 'lables'", "labels", "threshold"],
        ),
        ({"\ud83d": 1}, "INVALID_REQUEST", [r"Unknown option '\ud83d'; the options are"]),
    ],
)  # fmt: skip
def test_each_fault_has_a_code_and_a_sentence_that_quotes_the_value(changes, code, words):
    error = refused(asked(**changes))
    assert error.code == code
    for word in words:
        assert word in error.message


def test_too_many_labels_are_refused_and_counted():
    error = refused(asked(labels=[str(i) for i in range(MAX_LABELS + 1)]))
    assert error.code == "TOO_MANY_LABELS"
    assert (str(MAX_LABELS + 1) in error.message, str(MAX_LABELS) in error.message) == (True, True)


def test_several_faults_are_reported_together_with_the_code_of_the_first():
    error = refused(asked(labels=[], k=0, threshold=2, image="cat.jpg"))
    assert error.code == "NO_LABELS"
    for word in ("no labels", "k is 0", "threshold is 2", "'cat.jpg'"):
        assert word in error.message


def test_a_hundred_thousand_faults_make_a_short_message():
    error = refused(asked(labels=[5] * 99_999))
    assert error.code == "BAD_LABELS"
    assert "labels.4 is 5" in error.message
    assert "And 99994 more." in error.message
    assert len(error.message) < 1000


@pytest.mark.parametrize(
    "arguments",
    [
        {"labels": ["x" * 10**6]},
        {"labels": ["cat", "x" * 1000, "x" * 1000]},
        {"labels": [" " * 10**6]},
        {"template": "x" * 10**6},
        {"k": "9" * 10**6},
        {"image": "x" * 10**6},
        {"x" * 10**6: 1},
    ],
)
def test_a_huge_value_is_quoted_in_part(arguments):
    assert len(refused(asked(**arguments)).message) < 700


@pytest.mark.parametrize("images", [[], "https://example.org/a.jpg", None, [5], ["a"] * 513])
def test_an_invalid_list_of_images_is_rejected(images):
    arguments = {"labels": LABELS} | ({} if images is None else {"images": images})
    assert "images" in refused(arguments, ClassifyManyRequest).message


def test_as_many_images_as_the_limit_are_taken_though_some_are_no_uris():
    request = parse(ClassifyManyRequest, {"images": ["cat.jpg"] * MAX_IMAGES, "labels": LABELS})
    assert len(request.images) == MAX_IMAGES


def test_requests_of_one_image_take_no_list_and_those_of_several_no_single():
    assert "Unknown option 'images'" in refused(asked(images=[IMAGE])).message
    assert "Unknown option 'image'" in refused(asked(images=[IMAGE]), ClassifyManyRequest).message


def test_an_invalid_template_of_several_is_reported_once():
    assert refused(asked(templates=["x"])).message == (
        "The template 'x' has 0 placeholders; give exactly one {}, as in 'a photo of a {}.'."
    )
