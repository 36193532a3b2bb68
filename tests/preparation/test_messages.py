"""What a process sends is checked before anything is made of it."""

from __future__ import annotations

import json

import pytest

from clip_engine.errors import ImageError
from clip_worker import errors
from worker.preparation import messages
from worker.preparation.error_codec import decode_error, encode_error
from worker.preparation.messages import (
    LENGTH,
    Done,
    Outcome,
    ProtocolError,
    ReplyReader,
    Returned,
    Want,
)


def test_messages_come_out_whole_however_they_are_cut() -> None:
    outcome = Outcome(7, 0.25, 0.5, None)
    sent = messages.done([outcome]) + messages.want(7, 100) + messages.returned([8, 9])
    for size in (1, 3, len(sent)):
        reader = ReplyReader()
        pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
        replies = [reply for piece in pieces for reply in reader.feed(piece)]
        assert replies == [Done([outcome]), Want(7, 100), Returned([8, 9])]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[",
        b"[" * 200_000,
        b"1" * 10_000,
        b"{}",
        b"null",
        b'["quit"]',
        b'["want", 1, -5]',
        b'["want", "1", 5]',
        b'["returned", [true]]',
        b'["returned", ["1"]]',
        b'["done", 5]',
        b'["done", [[1, 0, 0]]]',
        b'["done", [[1, NaN, 0, null]]]',
        b'["done", [[1, -1, 0, null]]]',
        b'["done", [[1, 0, 1e999, null]]]',
        b'["done", [["1", 0, 0, null]]]',
        b'["done", [[1, 0, 0, ["SystemExit", "m", "CODE", null]]]]',
        b'["done", [[1, 0, 0, ["ImageError", "m", "no code", null]]]]',
        b'["done", [[1, 0, 0, ["ImageError", 5, "CODE", null]]]]',
        json.dumps(["done", [[1, 0, 0, ["ImageError", "m" * 5000, "CODE", None]]]]).encode(),
    ],
)
def test_whatever_else_is_sent_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(ReplyReader().feed(LENGTH.pack(len(text)) + text))


def test_a_message_that_is_announced_too_long_is_refused_at_once() -> None:
    with pytest.raises(ProtocolError, match="4294967295"):
        list(ReplyReader().feed(b"\xff" * 4))


def test_errors_come_back_as_they_were() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    leaves = (errors.QueueUnavailableError, errors.QueueFullError, errors.ResultTimeoutError)
    for each in classes:
        if not issubclass(each, errors.ClipWorkerError) or each in leaves:
            continue
        if each is not errors.ClipWorkerError:
            back = decode_error(encode_error(each("A sentence.", "A_CODE")))
            assert (type(back), back.args) == (each, ("A sentence. [A_CODE]",))
    error = errors.TemporaryError("Wait.", "FETCH_429")
    error.retry_after_s = 3.5
    assert getattr(decode_error(encode_error(error)), "retry_after_s", None) == 3.5
    assert type(decode_error(encode_error(ImageError("Broken.", "DECODE_BROKEN")))) is ImageError
