"""The tokenizer: by hand, then against open_clip's copy of OpenAI's on thousands of odd texts."""

# ruff: noqa: RUF001  # characters that look alike are what is tested
from __future__ import annotations

import html
import itertools
import random
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import ftfy
import open_clip
import pytest
import torch
from support.tiny_clip import tokenizer

from clip_engine.errors import InputError, TextTooLongError
from clip_engine.prompts import ensembles, fill
from clip_engine.tokenizer import (
    END_OF_TEXT,
    START_OF_TEXT,
    Tokenizer,
    byte_letters,
    clean,
    load_merges,
    merge,
)

if TYPE_CHECKING:
    from collections.abc import Callable

START, END = 49406, 49407
SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
# What a text may be made of, by the trouble that it makes.
FRAGMENTS = {
    "words": [
        "a photo of",
        "cat",
        "Dogs",
        "isn't",
        "WE'LL",
        "o'clock",
        "x2",
        "3.14",
        "U.S.A.",
        "b52",
    ],
    "entities": [
        "&amp;",
        "&lt;b&gt;",
        "&eacute;",
        "&#233;",
        "&#x1F600;",
        "&amp;amp;",
        "&nbsp;",
        "&",
    ],
    "ligatures": ["ﬁne", "oﬀer", "ﬄ", "ĳ", "œuvre", "Æsop", "ß", "ẞ"],
    "full width": ["ＣＬＩＰ", "１２３", "！？", "ｶﾀｶﾅ", "\u3000"],
    "quotes": ["“quoted”", "it’s", "‘a’", "«b»", "—", "…", "´", "`"],
    "mojibake": ["cafÃ©", "â€œhiâ€\x9d", "doesnâ€™t", "Ã\xa0"],
    "emoji": ["🐈", "👩‍👩‍👧", "👍🏽", "🇫🇷", "❤️", "a\u200db"],
    "marks": ["e\u0301", "n\u0303o", "a\u0300\u0301\u0302", "\u0301", "क्षि"],
    "CJK": ["猫の写真", "고양이", "北京", "한\u1100\u1161"],
    "right to left": ["قطة", "חתול", "\u200f\u202ecat\u202c"],
    "cases": ["İstanbul", "ΣΊΣΥΦΟΣ", "ǅ", "STRASSE"],
    "numbers": ["½", "Ⅷ", "x²", "٣", "100%"],
    "controls": ["\x00", "\x07", "\x1b[31m", "\x7f", "\ufeff", "\u200b", "\ufffd", "\u00ad"],
    "parts of marks": ["</w>", "<|", "|>", "'S", "'re"],
    "signs": ["!!!", "a-b", "#tag", "@you", "$5", "C++", "\\n", "^_^", "{}", "~"],
    "whitespace": [*SPACES, "\r\n", "  "],
}


@cache
def oracle() -> Callable[[str], list[int]]:
    """OpenAI's encoding: its cleaning, then open_clip's byte pair encoding."""
    encoder: Any = open_clip.tokenizer.SimpleTokenizer(clean="lower")
    encoder.clean_fn = lambda text: text

    def encode(text: str) -> list[int]:
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        return list(encoder.encode(re.sub(r"\s+", " ", text).strip().lower()))

    return encode


def odd_texts(count: int, seed: int) -> list[str]:
    """Texts of one to eight fragments of mixed kinds, joined with and without blanks."""
    source = random.Random(seed)
    kinds = list(FRAGMENTS.values())
    return [
        source.choice([" ", "", "\t"]).join(
            source.choice(source.choice(kinds)) for _ in range(source.randint(1, 8))
        )
        for _ in range(count)
    ]


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


# --- against the oracle ---


@pytest.mark.parametrize("seed", range(20))
def test_odd_texts_have_openais_tokens(seed: int) -> None:
    for text in odd_texts(1000, seed):
        assert tokenizer().encode(text) == oracle()(text), ascii(text)


@pytest.mark.parametrize("name", ["photo", "imagenet", "imagenet-simple"])
def test_imagenets_labels_in_the_notebooks_templates_have_openais_tokens(name: str) -> None:
    # every label in some template, every template around some label
    pairs = zip(open_clip.IMAGENET_CLASSNAMES, itertools.cycle(ensembles()[name]), strict=False)
    for text in (fill(template, label) for label, template in pairs):
        assert tokenizer().encode(text) == oracle()(text), text


@pytest.mark.parametrize("kind", FRAGMENTS)
def test_each_fragment_has_openais_tokens_alone_and_between_words(kind: str) -> None:
    for fragment in FRAGMENTS[kind]:
        for text in (fragment, f"a{fragment}b", f"a {fragment} b", fragment * 3):
            assert tokenizer().encode(text) == oracle()(text), ascii(text)


def test_every_character_of_the_first_planes_has_openais_tokens() -> None:
    codes = [*range(0x3100), *range(0xAC00, 0xAC40), *range(0xF900, 0x10000, 7), 0x1F600, 0x10FFFF]
    for code in codes:
        if unicodedata.category(chr(code)) != "Cs":
            assert tokenizer().encode(f"a{chr(code)}") == oracle()(f"a{chr(code)}"), hex(code)


def test_the_vocabulary_is_openais() -> None:
    theirs = open_clip.tokenizer.SimpleTokenizer()
    assert tokenizer().vocab_size == theirs.vocab_size == 49408
    assert dict(enumerate(tokenizer()._token)) == {
        number: token.replace("<start_of_text>", START_OF_TEXT).replace(
            "<end_of_text>", END_OF_TEXT
        )
        for number, token in theirs.decoder.items()
    }


def test_there_are_48894_merges_of_two_symbols() -> None:
    merges = load_merges()
    assert (len(merges), len(set(merges))) == (48_894, 48_894)
    assert merges[:2] == [("i", "n"), ("t", "h")]


def test_each_byte_has_a_letter_of_its_own() -> None:
    letters = byte_letters()
    assert sorted(letters) == list(range(256))
    assert len(set(letters.values())) == 256
    assert not any(letter.isspace() for letter in letters.values())


# --- there and back ---


@pytest.mark.parametrize("seed", [10, 11])
def test_decoding_gives_the_cleaned_text_but_for_blanks(seed: int) -> None:
    for text in odd_texts(500, seed):
        decoded = tokenizer().decode(tokenizer().encode(text))
        # </w> in a text spells a word's end, which decoding can't tell from a real one
        if "</w>" not in clean(text):
            assert re.sub(r"\s", "", decoded) == re.sub(r"\s", "", clean(text)), ascii(text)


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
