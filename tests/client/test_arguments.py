"""What a Python program hands to the client: taken where it is meant, else refused."""

from __future__ import annotations

import io
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fakeredis
import numpy as np
import pytest
from support.kept_messages import IMAGE, LABELS, Post

from worker.client import Client
from worker.client.image_file import MOST_BYTES
from worker.errors import ClipWorkerError, ImageUnavailableError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HALF = "\ud83d"  # of an emoji


@pytest.fixture
def client() -> Iterator[Client]:
    with Client("redis://127.0.0.1:1/0") as client:
        client._redis = client._label_sets._redis = fakeredis.FakeRedis()
        yield client


@pytest.fixture
def post(client: Client, monkeypatch: pytest.MonkeyPatch) -> Post:
    post = Post()
    monkeypatch.setattr(client._submission, "_publisher", post)
    return post


def refused(call: Callable[[], object]) -> ClipWorkerError:
    with pytest.raises(ClipWorkerError) as caught:
        call()
    message = caught.value.message
    message.encode()
    assert "\n" not in message
    assert message.endswith(".")
    return caught.value


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
def test_labels_come_as_any_ordered_collection_of_strings(
    client: Client, post: Post, labels: Any
) -> None:
    client.classify(IMAGE, labels)
    client.submit_many([IMAGE, {"image": IMAGE, "labels": labels}], labels)
    version = client.put_label_set("animals", labels)
    assert [asked["labels"] for asked in post.arguments] == [LABELS] * 3
    assert version == client.put_label_set("others", LABELS)


def test_labels_and_templates_and_pictures_may_be_generators(client: Client, post: Post) -> None:
    client.classify(IMAGE, (label for label in LABELS), templates=(f"{{}} {i}" for i in range(2)))
    client.submit_many((uri for uri in [IMAGE] * 2), (label for label in LABELS))
    assert [asked["labels"] for asked in post.arguments] == [LABELS] * 3
    assert post.arguments[0]["templates"] == ["{} 0", "{} 1"]


def test_of_endless_labels_no_more_are_drawn_than_may_be() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            yield f"label {number}"
            number += 1

    with Client() as client:
        error = refused(lambda: client.classify(IMAGE, endless()))
    assert error.code == "TOO_MANY_LABELS"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("cat", "labels is 'cat': give a list of strings"),
        (b"cat", "give a list of strings"),
        ({"cat"}, "labels is {'cat'}, a set, which has no order; give a list"),
        (frozenset({"cat"}), "a set, which has no order"),
        ({"cat": 1}, "give a list of strings"),
        (7, "labels is 7: give a list of strings"),
        (np.array("cat"), "give a list of strings"),
        (np.array([["cat", "dog"]]), "give a string"),
        (np.arange(300).reshape(3, 100), "give a string"),
        ([b"cat"], "labels.0 is b'cat': give a string"),
        (["cat", f"half of {HALF}"], r"The label 'half of \ud83d' holds a lone surrogate"),
    ],
)
def test_other_labels_are_refused(client: Client, post: Post, labels: Any, words: str) -> None:
    for call in (
        lambda: client.classify(IMAGE, labels),
        lambda: client.submit_many([IMAGE], labels),
        lambda: client.classify_many([IMAGE], labels),
        lambda: client.put_label_set("animals", labels),
    ):
        error = refused(call)
        assert isinstance(error, InvalidRequestError)
        assert error.code == "BAD_LABELS"
        assert words in error.message
    assert post.sent == []


# --- pictures ---


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Path("cat.jpg"), "PosixPath('cat.jpg'), a path on this machine; give client.upload(path)"),
        (b"\xff\xd8", "The image is 2 bytes; give its URI, which for the bytes of an encoded"),
        (bytearray(3), "3 bytes"),
        (io.BytesIO(b"picture"), "an object of type BytesIO"),
        (np.zeros((9, 9, 3)), "an object of type ndarray"),
        (None, "The image is None; give its URI"),
        (7, "The image is 7; give its URI"),
        (["a", "b"], "The image is ['a', 'b']; give its URI"),
        (f"https://example.org/{HALF}.jpg", "holds a lone surrogate"),
    ],
)
def test_what_is_no_uri_of_a_picture_is_refused(
    client: Client, post: Post, image: Any, words: str
) -> None:
    for call in (
        lambda: client.classify(image, LABELS),
        lambda: client.submit_many([image], LABELS),
        lambda: client.submit_many([{"image": image, "labels": LABELS}]),
    ):
        error = refused(call)
        assert error.code == "BAD_URI"
        assert words in error.message or (image is None and "'image' is missing" in error.message)
    [(position, outcome)] = client.classify_many([image], LABELS)
    assert position == 0
    assert outcome.error is not None
    assert outcome.error.code == "BAD_URI"
    assert words in outcome.error.message
    assert post.sent == []


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGE, "is 'https://example.org/cat.jpg'; give a list of them, or ask about one picture"),
        (Path("cat.jpg"), "is PosixPath('cat.jpg'); give a list"),
        (b"\xff\xd8", "is 2 bytes; give a list"),
        ({"image": IMAGE}, "; give a list"),
        (7, "is 7; give a list"),
        (None, "is None; give a list"),
        ({IMAGE}, "a set, which has no order; give a list"),
        (
            "https://me:secret@example.org/cat.jpg?signature=1",
            "https://***@example.org/cat.jpg?...",
        ),
    ],
)
def test_one_picture_is_not_taken_for_many(
    client: Client, post: Post, images: Any, words: str
) -> None:
    for call in (
        lambda: client.classify_many(images, LABELS),
        lambda: client.submit_many(images, LABELS),
    ):
        error = refused(call)
        assert isinstance(error, InvalidRequestError)
        assert words in error.message
    assert post.sent == []


# --- uploads ---


def test_a_file_is_uploaded_by_its_path(client: Client, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"picture")
    uri = client.upload(tmp_path / "cat.jpg")
    assert uri == client.upload(b"picture") == client.upload(bytearray(b"picture"))
    assert uri == client.upload(memoryview(b"picture"))


def test_a_file_that_cannot_be_read_is_named(client: Client, tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "cat.jpg", "No such file"), (tmp_path, "Is a directory")):
        error = refused(lambda path=path: client.upload(path))  # type: ignore[misc]  # mypy's
        assert isinstance(error, ImageUnavailableError)
        assert error.code == "READ_FAILED"
        assert path.name in error.message
        assert reason in error.message


def test_a_file_that_redis_could_not_keep_is_refused(client: Client, tmp_path: Path) -> None:
    with (tmp_path / "cat.jpg").open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # of which the disk has nothing
    assert refused(lambda: client.upload(tmp_path / "cat.jpg")).code == "FETCH_TOO_LARGE"


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        ("cat.jpg", "BAD_UPLOAD", "or Path('cat.jpg') to have that file read"),
        (io.BytesIO(b"picture"), "BAD_UPLOAD", "an object of type BytesIO; give the bytes"),
        (np.zeros((9, 9, 3)), "BAD_UPLOAD", "an object of type ndarray; give the bytes"),
        (None, "BAD_UPLOAD", "The upload is None; give the bytes of an encoded picture"),
        (b"", "EMPTY_UPLOAD", "0 bytes"),
        (Path("a\0b"), "READ_FAILED", "can't be read"),
    ],
)
def test_what_is_no_upload_is_refused(client: Client, data: Any, code: str, words: str) -> None:
    error = refused(lambda: client.upload(data))
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf")])
def test_an_upload_is_kept_for_some_time(client: Client, ttl_s: float) -> None:
    assert "ttl_s is" in refused(lambda: client.upload(b"picture", ttl_s)).message


# --- names ---


@pytest.mark.parametrize("name", ["", HALF, None, 7, b"queue"])
def test_what_can_be_no_name_is_refused(client: Client, name: Any) -> None:
    assert "queue is" in refused(lambda: Client(queue=name)).message
    assert "task_id is" in refused(lambda: client.handle(name)).message
    assert "label_set" in refused(lambda: client.put_label_set(name, LABELS)).message


@pytest.mark.parametrize("option", ["label_set", "template", "templates", "ensemble"])
def test_a_lone_surrogate_is_refused_wherever_it_stands(
    client: Client, post: Post, option: str
) -> None:
    value: Any = f"{HALF} {{}}" if option != "templates" else ["{}", f"{HALF} {{}}"]
    labels = None if option == "label_set" else LABELS
    error = refused(lambda: client.classify(IMAGE, labels, **{option: value}))
    assert r"\ud83d" in error.message
    assert "lone surrogate" in error.message
    assert post.sent == []
