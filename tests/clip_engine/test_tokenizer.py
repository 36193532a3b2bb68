"""The tokenizer by hand; test_tokenizer_oracle compares it with OpenAI's."""

# ruff: noqa: RUF001  # characters that look alike are what is tested
from __future__ import annotations

import pytest
import torch
from support.tiny_clip import tokenizer

from clip_engine.errors import InputError, TextTooLongError
from clip_engine.tokenizer import END_OF_TEXT, Tokenizer, clean, merge

START, END = 49406, 49407


# --- by hand ---


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("   \n", []),
        ("a", [320]),
        ("!", [256]),  # a sign of its own is its byte with the word's end
        ("a photo of a cat.", [320, 1125, 539, 320, 2368, 269]),
        ("A PHOTO\tof  a Cat.", [320, 1125, 539, 320, 2368, 269]),
        ("hello world!", [3306, 1002, 256]),
        ("<|startoftext|>", [START]),
        ("a<|EndOfText|>a", [320, END, 320]),
        ("!<|endoftext|>", [0, 27, 347, 40786, 4160, 91, 285]),  # in a run of signs it is none
    ],
)
def test_worked_examples(text: str, numbers: list[int]) -> None:
    assert tokenizer().encode(text) == numbers


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Caf&amp;eacute;\n NOIR ", "café noir"),
        ("&amp;lt;b&amp;gt;", "<b>"),
        ("it’s “fine”", 'it\'s "fine"'),
        ("ＣＬＩＰ", "clip"),
        ("ﬁne", "fine"),
        ("doesnâ€™t", "doesn't"),
        ("a\u2003\u00a0\x0bb", "a b"),
        ("\ud83d\ude00", "😀"),
        ("\ud800", "\ufffd"),
    ],
)
def test_cleaning_by_hand(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_merging_by_hand_with_three_merges() -> None:
    # given the merges l+o, lo+w</w>, lo+w
    small = Tokenizer([("l", "o"), ("lo", "w</w>"), ("lo", "w")])
    # then: 512 letters come first, then the merges, then the two marks
    assert small.vocab_size == 512 + 3 + 2
    assert small.encode("low lo lowl") == [
        513,  # low at a word's end
        ord("l") - 33,
        256 + ord("o") - 33,  # lo: the o ends the word, so l+o doesn't apply
        514,
        256 + ord("l") - 33,
    ]


def test_an_urgent_merge_goes_first_though_another_stands_before_it() -> None:
    # given that b+c is more urgent than a+b
    small = Tokenizer([("b", "c"), ("a", "b"), ("a", "bc")])
    assert [small.decode([number]) for number in small.encode("abcx")] == ["abc", "x"]


@pytest.mark.parametrize(
    ("symbols", "merged"),
    [
        (["a", "b"], ["ab"]),
        (["a", "a", "b", "b"], ["a", "ab", "b"]),
        (["a", "b", "a", "b"], ["ab", "ab"]),
        (["b", "a"], ["b", "a"]),
        (["a"], ["a"]),
    ],
)
def test_a_pair_is_joined_wherever_it_stands(symbols: list[str], merged: list[str]) -> None:
    assert merge(symbols, ("a", "b")) == merged


def test_of_three_equal_letters_the_first_two_are_joined() -> None:
    assert merge(["a", "a", "a"], ("a", "a")) == ["aa", "a"]


# --- there and back ---


@pytest.mark.parametrize("text", ["a photo of a cat .", "two dogs ' heads", "猫 cat", "x 2"])
def test_what_is_spaced_like_tokens_comes_back_whole(text: str) -> None:
    assert tokenizer().decode(tokenizer().encode(text)) == text


def test_encoding_what_was_decoded_gives_the_same_tokens() -> None:
    for text in ["a photo of a cat.", "it isn't 3.14", "naïve café, ½ off!"]:
        numbers = tokenizer().encode(text)
        assert tokenizer().encode(tokenizer().decode(numbers)) == numbers


def test_end_marks_are_left_out_when_decoding() -> None:
    assert tokenizer().decode([START, 320, END, 2368, END]) == "a cat"


def test_half_a_character_decodes_to_a_replacement() -> None:
    # given the tokens of a character of three bytes that no merge joins
    numbers = tokenizer().encode("\u2fff")
    assert len(numbers) > 1
    assert tokenizer().decode(numbers[:1]) == "\ufffd"


# --- the context ---


def test_a_row_is_start_tokens_end_and_zeros() -> None:
    [row] = tokenizer().tokenize(["a cat"]).tolist()
    assert row == [START, 320, 2368, END] + [0] * 73


def test_the_result_is_int64_of_the_context_length() -> None:
    tokens = tokenizer().tokenize(["a", "b", ""], context_length=12)
    assert (tokens.shape, tokens.dtype) == ((3, 12), torch.int64)
    assert tokens[2].tolist() == [START, END] + [0] * 10


def test_no_texts_give_no_rows() -> None:
    assert tokenizer().tokenize([]).shape == (0, 77)


def test_75_tokens_fill_the_context_to_the_last_column() -> None:
    [row] = tokenizer().tokenize(["cat " * 75]).tolist()
    assert row == [START, *[2368] * 75, END]


@pytest.mark.parametrize("count", [76, 77, 500])
def test_more_are_refused_and_counted(count: int) -> None:
    with pytest.raises(TextTooLongError) as caught:
        tokenizer().tokenize(["fine", "cat " * count])
    shown = repr(("cat " * count)[:77] + "...")
    assert str(caught.value) == (
        f"The text {shown} has {count} tokens, and the limit is 75; shorten or truncate it."
    )
    assert isinstance(caught.value, InputError)


def test_a_short_text_of_many_tokens_is_quoted_whole() -> None:
    with pytest.raises(
        TextTooLongError, match=r"^The text '1234567890' has 10 tokens, and the limit is 3;"
    ):
        tokenizer().tokenize(["1234567890"], context_length=5)


@pytest.mark.parametrize("count", [75, 76, 77, 500])
def test_truncation_keeps_the_first_75_and_the_end_mark(count: int) -> None:
    [row] = tokenizer().tokenize(["dog " + "cat " * (count - 1)], truncate=True).tolist()
    assert row == [START, 1929, *[2368] * 74, END]


def test_an_end_mark_in_the_text_is_a_token_like_any_other() -> None:
    [row] = tokenizer().tokenize([f"a {END_OF_TEXT} a"], context_length=8).tolist()
    assert row == [START, 320, END, 320, END, 0, 0, 0]
