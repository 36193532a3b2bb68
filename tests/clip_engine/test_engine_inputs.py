"""The forms that images, labels, templates and texts may be given in, and those that are none."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.image_files import encoded
from support.image_zoo import photo
from support.tiny_clip import tiny_engine, tokenizer

from clip_engine.errors import ImageError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clip_engine.engine import Engine

LABELS = ["cat", "dog", "grass"]


@cache
def engine() -> Engine:
    return tiny_engine()


@cache
def png() -> bytes:
    return encoded(photo((60, 50), seed=3), "PNG")


def written(data: bytes) -> io.BytesIO:
    """Where Pillow has just saved an image: its position is the end."""
    file = io.BytesIO()
    file.write(data)
    return file


def refusal(call: Callable[[], object]) -> str:
    """The one sentence with which a call is refused."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", ")."))
    assert "; " in message  # what is wrong; what would be right
    return message


# --- images ---


FORMS: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "numpy.str_": np.str_,
    "Path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "BytesIO at its end": lambda path: written(path.read_bytes()),
    "open file": lambda path: io.BufferedReader(io.FileIO(path)),
    "Pillow": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
    "array that is a view": lambda path: np.asarray(Image.open(path))[::-1][::-1],
    "array with alpha": lambda path: np.asarray(Image.open(path).convert("RGBA")),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the caller's file is the caller's to close
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_gives_the_same_in_every_form(form: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(photo((60, 50), seed=3), kind))
    given = FORMS[form](path)
    off = (engine().prepare(given).int() - engine().prepare(path).int()).abs().max()
    assert off <= (1 if form == "array with alpha" else 0)  # Pillow resizes that one
    assert len(engine().classify([given], LABELS)) == 1


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 1)])
def test_an_array_of_one_channel_is_grey(shape: tuple[int, ...]) -> None:
    grey = np.arange(1200, dtype=np.uint8).reshape(shape)
    colour = np.repeat(grey.reshape(40, 30, 1), 3, axis=2)
    assert torch.equal(engine().prepare(grey), engine().prepare(colour))


SEVERAL: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "generator": lambda arrays: (array for array in arrays),
    "map": lambda arrays: map(Image.fromarray, arrays),
    "array [B, H, W, 3]": np.stack,
    "array of objects": lambda arrays: _objects([Image.fromarray(array) for array in arrays]),
}


def _objects(members: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(members), dtype=object)
    array[:] = members
    return array


@pytest.mark.parametrize("form", SEVERAL)
def test_pictures_may_come_in_any_iterable(form: str) -> None:
    arrays = [np.asarray(photo((40, 30), seed=seed)) for seed in range(3)]
    expected = engine().classify(arrays, LABELS)
    assert len(expected) == 3
    assert engine().classify(SEVERAL[form](arrays), LABELS) == expected


def test_paths_may_come_in_an_array(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    paths = np.array([str(tmp_path / "photo.png")] * 2)
    assert len(engine().classify(paths, LABELS)) == 2


SINGLE: dict[str, Callable[[], Any]] = {
    "str": lambda: "a.jpg",
    "Path": lambda: Path("a.jpg"),
    "bytes": png,
    "bytearray": lambda: bytearray(png()),
    "BytesIO": lambda: io.BytesIO(png()),
    "Pillow": lambda: photo((40, 30), seed=0),
    "array": lambda: np.asarray(photo((40, 30), seed=0)),
    "grey array": lambda: np.asarray(photo((40, 30), seed=0))[..., 0],
}
NAMED = {
    "str": "'a.jpg'",
    "Path": "PosixPath('a.jpg')",
    "bytes": r"bytes that begin with b'\x89PNG",
    "Pillow": "40x30 pixels",
    "array": "an array of uint8 with the shape (30, 40, 3)",
}


@pytest.mark.parametrize("form", SINGLE)
def test_a_single_picture_in_the_place_of_a_list_is_told_apart(form: str) -> None:
    message = refusal(lambda: engine().classify(SINGLE[form](), LABELS))
    assert message.startswith("The images are a single image, ")
    assert NAMED.get(form, "") in message
    assert "give a list" in message


@pytest.mark.parametrize("images", [None, 5, 0.5])
def test_what_has_no_members_is_no_list_of_pictures(images: Any) -> None:
    assert repr(images) in refusal(lambda: engine().classify(images, LABELS))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (5, "5 of type int"),
        (None, "None of type NoneType"),
        ([1, 2], "[1, 2] of type list"),
        ([np.zeros((40, 30))], "of type list"),
        (torch.zeros(3, 40, 30), "a tensor of torch.float32 with the shape (3, 40, 30)"),
        (np.zeros((40, 30, 3), dtype=np.float32), "an array of float32 with the shape (40, 30, 3)"),
        (np.zeros((40, 30, 3), dtype=np.int64), "give uint8, 0 to 255"),
        (np.zeros((40, 30), dtype=bool), "an array of bool"),
        (np.zeros((3, 40, 30), dtype=np.uint8), "array.transpose(1, 2, 0)"),
        (np.zeros((40, 30, 2), dtype=np.uint8), "(40, 30, 2)"),
        (np.zeros((40,), dtype=np.uint8), "(40,)"),
        (np.zeros((), dtype=np.uint8), "shape ()"),
        (np.zeros((2, 40, 30, 3), dtype=np.uint8), "(2, 40, 30, 3)"),
        (np.zeros((0, 30, 3), dtype=np.uint8), "(0, 30, 3)"),
        (io.StringIO("text"), "open it in binary mode"),
        ("", "path is ''"),
        ("a\0b", r"'a\x00b'"),
        ("https://example.com/a.jpg", "the URL 'https://example.com/a.jpg'; fetch it"),
    ],
)
def test_what_is_no_picture_is_quoted(image: Any, words: str) -> None:
    assert words in refusal(lambda: engine().classify([image], LABELS))


def test_a_closed_file_is_named() -> None:
    file = io.BytesIO(png())
    file.close()
    assert "closed file" in refusal(lambda: engine().prepare(file))


def test_a_file_that_can_not_be_rewound_is_read_from_where_it_stands() -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: Any) -> int:
            raise io.UnsupportedOperation("seek")

    assert torch.equal(engine().prepare(Stream(png())), engine().prepare(png()))


def test_a_file_that_holds_no_picture_says_so_as_its_bytes_would() -> None:
    with pytest.raises(ImageError) as caught:
        engine().prepare(io.BytesIO(b"<html>"))
    assert caught.value.code == "DECODE_UNRECOGNIZED"


# --- labels and templates ---


@pytest.mark.parametrize(
    "form",
    [
        tuple,
        iter,
        np.array,
        lambda labels: np.array(labels, dtype=object),
        lambda labels: (label for label in labels),
        lambda labels: dict.fromkeys(labels, 1),
    ],
)
def test_labels_and_templates_may_come_in_any_iterable(form: Any) -> None:
    picture = [photo((40, 40), seed=0)]
    templates = ["a {}", "a photo of a {}."]
    expected = engine().classify(picture, LABELS, template=templates)
    answers = engine().classify(picture, form(LABELS), template=form(templates))
    assert answers == expected
    assert {type(prediction.label) for prediction in answers[0]} == {str}


@pytest.mark.parametrize(
    "labels", [None, 5, "", "cat", b"cat", [], (), np.array("cat"), np.array([]), iter([])]
)
def test_what_holds_no_labels_is_refused(labels: Any) -> None:
    message = refusal(lambda: engine().classify([], labels))
    assert message == f"Invalid labels {labels!r}; give a list of at least one label."


@pytest.mark.parametrize(
    "labels",
    [["", "cat"], [" \n"], [None], [5], np.array([1, 2]), np.array([b"cat"]), np.array([["a"]])],
)
def test_a_label_that_is_blank_or_no_text_is_quoted(labels: Any) -> None:
    message = refusal(lambda: engine().classify([], labels))
    assert message == f"The label {labels[0]!r} is blank or not a string; remove it."


@pytest.mark.parametrize("labels", [["cat", "dog", "cat"], np.array(["cat", "cat"])])
def test_a_repeated_label_is_quoted_as_text(labels: Any) -> None:
    message = refusal(lambda: engine().classify([], labels))
    assert message == "The label 'cat' is repeated; give each label once."


@pytest.mark.parametrize(
    ("template", "words"),
    [
        *((template, "give") for template in (None, 5, [None], ["{}", 5], b"{}")),
        *(
            (template, "0 placeholders; give exactly one")
            for template in ("cat", "", ["{}", "none"])
        ),
        ("{} {}", "2 placeholders; give exactly one"),
        ([], "no templates; give at least one"),
    ],
)
def test_a_template_is_text_with_exactly_one_placeholder(template: Any, words: str) -> None:
    assert words in refusal(lambda: engine().classify([], LABELS, template=template))


# --- texts ---


@pytest.mark.parametrize(
    "texts",
    [
        "a cat",
        np.str_("a cat"),
        ("a cat",),
        iter(["a cat"]),
        np.array(["a cat"]),
        (text for text in ["a cat"]),
    ],
)
def test_a_text_has_one_row_whatever_it_comes_in(texts: Any) -> None:
    tokens = tokenizer().tokenize(texts)
    assert tokens.shape == (1, 77)
    assert torch.equal(tokens, tokenizer().tokenize(["a cat"]))


@pytest.mark.parametrize("texts", [None, 5, [None], ["a", 5], b"a cat", [b"a cat"], [["a"]]])
def test_what_is_no_text_is_refused(texts: Any) -> None:
    assert "give a" in refusal(lambda: tokenizer().tokenize(texts))


def test_encode_takes_one_text() -> None:
    words: Any = ["a cat"]
    message = refusal(lambda: tokenizer().encode(words))
    assert message == "The text ['a cat'] is a list; give a str."
