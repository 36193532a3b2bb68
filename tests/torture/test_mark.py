"""The mark that ties a picture's bytes to its task."""

from __future__ import annotations

import base64
import io
import random

import pytest
from PIL import Image

from torture.mark import Mark
from torture.message import number_of
from torture.workload import BROKEN, OOM, SEGFAULT, SLOW, Shares, drawn_jpeg, shuffled_kinds


def test_a_mark_changes_no_pixel_and_is_found_again():
    jpeg = drawn_jpeg()
    mark = Mark(123, "sound")
    stamped = mark.stamp(jpeg)
    assert Mark.in_bytes(jpeg) is None
    assert Mark.in_bytes(stamped) == mark
    before, after = (Image.open(io.BytesIO(data)).tobytes() for data in (jpeg, stamped))
    assert before == after


def test_a_mark_is_found_in_half_a_picture_and_in_garbage():
    mark = Mark(5, "broken")
    stamped = mark.stamp(drawn_jpeg())
    assert Mark.in_bytes(stamped[: len(stamped) // 2]) == mark
    assert Mark.in_bytes(mark.data + b"\x00" * 500) == mark


@pytest.mark.parametrize("prefix", ["file:///tmp/x/", "http://127.0.0.1:8000/"])
def test_a_mark_is_found_in_a_uri(prefix):
    mark = Mark(77, "segfault")
    assert Mark.in_uri(prefix + mark.file_name) == mark
    assert number_of(prefix + mark.file_name) == 77


def test_a_mark_is_found_in_a_data_uri():
    mark = Mark(19_999, "oom")
    data = base64.b64encode(mark.stamp(drawn_jpeg())).decode()
    assert Mark.in_uri(f"data:image/jpeg;base64,{data}") == mark


def test_the_kinds_have_their_shares_and_one_order_a_seed():
    kinds = shuffled_kinds(1000, Shares(0.01, 0.02, 0.03), random.Random(1))
    counts = [kinds.count(kind) for kind in (SEGFAULT, OOM, BROKEN, SLOW)]
    assert counts == [5, 5, 20, 30]
    assert len(kinds) == 1000
    assert kinds == shuffled_kinds(1000, Shares(0.01, 0.02, 0.03), random.Random(1))
    assert kinds != shuffled_kinds(1000, Shares(0.01, 0.02, 0.03), random.Random(2))


def test_a_uri_without_a_number_is_refused():
    with pytest.raises(ValueError, match="has no number"):
        number_of("cat.jpg")
