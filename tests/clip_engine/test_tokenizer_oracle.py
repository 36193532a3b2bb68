"""The tokenizer against open_clip's copy of OpenAI's, on thousands of odd texts."""

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
from support.tiny_clip import tokenizer

from clip_engine.prompts import ensembles, fill
from clip_engine.tokenizer import byte_letters, clean, load_merges

if TYPE_CHECKING:
    from collections.abc import Callable

START = 49406
SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
# What a text may be made of, by the trouble that it makes.
FRAGMENTS = {
    "words": ["a photo of", "cat", "Dogs", "x2", "3.14", "U.S.A.", "b52"],
    "contractions": ["isn't", "WE'LL", "o'clock", "'S", "'re"],
    "entities": ["&amp;", "&lt;b&gt;", "&eacute;", "&nbsp;", "&"],
    "more entities": ["&#233;", "&#x1F600;", "&amp;amp;"],
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
    "parts of marks": ["</w>", "<|", "|>"],
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
    assert tokenizer().vocab_size == theirs.vocab_size == 49_408
    assert load_merges() == list(theirs.bpe_ranks)
    assert byte_letters() == theirs.byte_encoder
    for number in range(START):  # before an "a", which shows whether the token ends a word
        expected = theirs.decode([number, 320]).removesuffix(" ")
        assert tokenizer().decode([number, 320]) == expected, number


@pytest.mark.parametrize("seed", [10, 11])
def test_decoding_gives_the_cleaned_text_but_for_blanks(seed: int) -> None:
    for text in odd_texts(500, seed):
        decoded = tokenizer().decode(tokenizer().encode(text))
        # </w> in a text spells a word's end, which decoding can't tell from a real one
        if "</w>" not in clean(text):
            assert re.sub(r"\s", "", decoded) == re.sub(r"\s", "", clean(text)), ascii(text)
