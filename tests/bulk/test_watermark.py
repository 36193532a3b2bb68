"""The watermark, compared with a plain list of what has ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clip_worker.bulk.watermark import Watermark

ORDERS = st.integers(1, 12).flatmap(lambda count: st.permutations(range(count)))


@given(order=ORDERS, pauses=st.sets(st.integers(0, 12)))
def test_what_is_kept_is_what_has_ended(order: list[int], pauses: set[int]) -> None:
    # given
    watermark = Watermark(None, ())
    for number in range(len(order)):
        assert watermark.read(bytes([number]), str(number))
    kept: set[int] = set()
    position = -1
    for step, number in enumerate(order):
        watermark.end(bytes([number]))
        if step in pauses or step == len(order) - 1:
            # when
            advance = watermark.advance()
            position = position if advance.position is None else int(advance.position)
            assert {each[0] for each in advance.removed} <= kept
            kept -= {each[0] for each in advance.removed}
            kept |= {each[0] for each in advance.added}
            # then
            assert kept | {*range(position + 1)} == {*order[: step + 1]} | {*range(position + 1)}
            assert {*range(position + 1)} <= {*order[: step + 1]}
            assert all(each > position for each in kept)
    assert position == len(order) - 1
    assert not kept
    assert len(watermark) == 0


def test_a_run_that_continues_skips_what_is_done_beyond_the_position() -> None:
    # given
    watermark = Watermark("4", {b"6"})
    # when
    todo = [name for name in (b"5", b"6", b"7") if watermark.read(name, name.decode())]
    # then
    assert todo == [b"5", b"7"]
    # when
    watermark.end(b"5")
    # then
    advance = watermark.advance()
    assert (advance.position, advance.removed, advance.added) == ("6", {b"6"}, set())


def test_an_item_that_comes_twice_is_done_once() -> None:
    watermark = Watermark(None, ())
    assert [watermark.read(b"a", "1"), watermark.read(b"a", "2")] == [True, False]
    watermark.end(b"a")
    assert watermark.advance().position == "2"
