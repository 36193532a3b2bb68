"""A Python program's arguments: converted if their meaning is clear, else rejected."""

from __future__ import annotations

import io
import itertools
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from support.failure import code_of, failure_of
from support.sent_messages import IMAGE, LABELS

from clip_worker import Client
from clip_worker.errors import InvalidRequestError

SURROGATE = "\ud83d"  # half an emoji


# --- labels ---


@pytest.mark.parametrize(
    "labels",
    [
        tuple(LABELS),
        deque(LABELS),
        dict.fromkeys(LABELS).keys(),
        np.array(LABELS),
        np.array(LABELS, dtype=object),
        [np.str_(label) for label in LABELS],
    ],
    ids=["tuple", "deque", "keys", "array", "array of objects", "numpy's strings"],
)
def test_labels_may_be_any_ordered_collection_of_strings(client, sent, labels):
    client.classify(IMAGE, labels)
    client.submit_many([IMAGE, {"image": IMAGE, "labels": labels}], labels)
    version = client.put_label_set("animals", labels)
    assert [arguments["labels"] for arguments in sent.arguments] == [LABELS] * 3
    assert version == client.put_label_set("others", LABELS)


def test_labels_templates_and_images_may_be_generators(client, sent):
    client.classify(IMAGE, (label for label in LABELS), templates=(f"{{}} {i}" for i in range(2)))
    client.submit_many((uri for uri in [IMAGE] * 2), (label for label in LABELS))
    assert [arguments["labels"] for arguments in sent.arguments] == [LABELS] * 3
    assert sent.arguments[0]["templates"] == ["{} 0", "{} 1"]


def test_an_endless_generator_of_labels_is_read_only_up_to_the_limit(client):
    endless = (f"label {number}" for number in itertools.count())
    assert code_of(client.classify, IMAGE, endless) == "TOO_MANY_LABELS"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("cat", "labels is 'cat': give a list of strings"),
        (b"cat", "give a list of strings"),
        ({"cat"}, "labels is {'cat'}, a set, which has no order; pass a list"),
        (frozenset({"cat"}), "a set, which has no order"),
        ({"cat": 1}, "give a list of strings"),
        (7, "labels is 7: give a list of strings"),
        (np.array("cat"), "give a list of strings"),
        (np.array([["cat", "dog"]]), "give a string"),
        (np.arange(300).reshape(3, 100), "give a string"),
        ([b"cat"], "labels.0 is b'cat': give a string"),
        (["cat", f"half of {SURROGATE}"], r"The label 'half of \ud83d' contains a lone surrogate"),
    ],
)
def test_other_labels_are_rejected(client, sent, labels, words):
    for call, *arguments in (
        (client.classify, IMAGE),
        (client.submit_many, [IMAGE]),
        (client.classify_many, [IMAGE]),
        (client.put_label_set, "animals"),
    ):
        error = failure_of(call, *arguments, labels)
        assert (type(error), error.code) == (InvalidRequestError, "BAD_LABELS")
        assert words in error.message
    assert sent == []


# --- images ---


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Path("cat.jpg"), "PosixPath('cat.jpg'), a path on this machine; pass client.upload(path)"),
        (b"\xff\xd8", "The image is 2 bytes; pass its URI, or client.upload(data) for the bytes"),
        (bytearray(3), "3 bytes"),
        (io.BytesIO(b"picture"), "an object of type BytesIO"),
        (np.zeros((9, 9, 3)), "an object of type ndarray"),
        (None, "The image is None; pass its URI"),
        (7, "The image is 7; pass its URI"),
        (["a", "b"], "The image is ['a', 'b']; pass its URI"),
        (f"https://example.org/{SURROGATE}.jpg", "contains a lone surrogate"),
    ],
)
def test_an_image_that_is_not_a_uri_is_rejected(client, sent, image, words):
    for error in (
        failure_of(client.classify, image, LABELS),
        failure_of(client.submit_many, [image], LABELS),
        failure_of(client.submit_many, [{"image": image, "labels": LABELS}]),
    ):
        assert error.code == "BAD_URI"
        assert words in error.message or (image is None and "'image' is missing" in error.message)
    [(position, outcome)] = client.classify_many([image], LABELS)
    assert (position, outcome.error.code) == (0, "BAD_URI")
    assert words in outcome.error.message
    assert sent == []


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGE, "is 'https://example.org/cat.jpg'; pass a list, or call classify()"),
        (Path("cat.jpg"), "is PosixPath('cat.jpg'); pass a list"),
        (b"\xff\xd8", "is 2 bytes; pass a list"),
        ({"image": IMAGE}, "; pass a list"),
        (7, "is 7; pass a list"),
        (None, "is None; pass a list"),
        ({IMAGE}, "a set, which has no order; pass a list"),
        ("https://me:secret@example.org/cat.jpg?sig=1", "https://***@example.org/cat.jpg?..."),
    ],
)
def test_a_single_image_is_rejected_where_many_are_expected(client, sent, images, words):
    for call in (client.classify_many, client.submit_many):
        error = failure_of(call, images, LABELS)
        assert isinstance(error, InvalidRequestError)
        assert words in error.message
    assert sent == []


# --- names ---


@pytest.mark.parametrize("name", ["", SURROGATE, None, 7, b"queue"])
def test_a_name_that_is_not_text_is_rejected(client, name):
    assert "queue is" in failure_of(Client, queue=name).message
    assert "task_id is" in failure_of(client.handle, name).message
    assert "label_set" in failure_of(client.put_label_set, name, LABELS).message


@pytest.mark.parametrize("option", ["label_set", "template", "templates", "ensemble"])
def test_a_lone_surrogate_is_rejected_in_every_option(client, sent, option):
    value = f"{SURROGATE} {{}}" if option != "templates" else ["{}", f"{SURROGATE} {{}}"]
    labels = None if option == "label_set" else LABELS
    error = failure_of(client.classify, IMAGE, labels, **{option: value})
    assert r"\ud83d" in error.message
    assert "lone surrogate" in error.message
    assert sent == []
