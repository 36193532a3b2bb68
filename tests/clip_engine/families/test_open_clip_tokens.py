"""Tokens are those of open_clip's own tokenizers, but nothing is truncated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch
from support.open_clip_configs import FAMILIES, Family
from support.open_clip_families import their_tokenizer

from clip_engine.errors import InputError, TextTooLongError
from clip_engine.families.open_clip_tokenizer import RowTokenizer, read_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

# One family of each `text_cfg` that makes another tokenizer.
NAMES = (
    *("siglip", "siglip2", "metaclip", "metaclip2", "pe-core", "coca"),
    *("clipa", "clips", "xlm-roberta", "nllb"),
)
TEXTS = (
    "a photo of a cat.",
    "Ein Foto von einer Kirche, 3 Fenster!",
    "写真 猫",
    "x",
    "",
    "  UPPER_case-words,\n\twith   white space  ",
    "Caf&amp;eacute; &lt;3 and ﬁne \u2019quotes\u2019",
    "naïve façade — “dashes” … 5€ ½ ①",
    "фотография кошки, صورة قطة, φωτογραφία γάτας, 犬",
    "👩‍👩‍👧 emoji 🐈",
    "<start_of_text> <|endoftext|> </s> <eos> [SEP] <pad>",
    "it's we'll 'tis don't",
    "\u200bzero\u00adwidth\ufeff \x1fcontrol",
)


@pytest.fixture(scope="module", params=NAMES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def folder(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    if family.tokenizer is not None:
        family.tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def ours(family: Family, folder: Path) -> RowTokenizer:
    return read_tokenizer(family.text, (folder,))


def fits(tokenizer: RowTokenizer, text: str) -> bool:
    try:
        tokenizer.tokenize([text])
    except TextTooLongError:
        return False
    return True


def test_tokens_are_those_of_open_clip(family: Family, folder: Path, ours: RowTokenizer) -> None:
    fit = [text for text in TEXTS if fits(ours, text)]
    assert len(fit) >= len(TEXTS) - 3
    assert torch.equal(ours.tokenize(fit), their_tokenizer(family, folder)(fit))
    assert ours.tokenize([]).shape == (0, ours.context_length)


def test_the_longest_text_that_fits_is_whole_and_the_next_one_is_refused(
    family: Family, folder: Path, ours: RowTokenizer
) -> None:
    theirs = their_tokenizer(family, folder)
    texts = [" ".join(["cat"] * count) for count in range(1, 100)]
    fit = [text for text in texts if fits(ours, text)]
    assert fit == texts[: len(fit)]
    assert torch.equal(ours.tokenize(fit), theirs(fit))
    width = ours.context_length
    free = width if ours.last is None else width - 1
    for text, is_whole in ((fit[-1], True), (texts[len(fit)], False)):
        cut, plenty = (theirs([text], context_length=size)[0] for size in (width, 300))
        assert torch.equal(cut[:free], plenty[:free]) == is_whole
    limit = width - ours.marks
    said = rf"'cat cat.*' has {limit + 1} tokens, and the limit is {limit};"
    with pytest.raises(TextTooLongError, match=said if family.tokenizer is None else "the limit"):
        ours.tokenize(["a cat", texts[len(fit)]])


def test_what_is_not_a_string_is_refused(ours: RowTokenizer) -> None:
    with pytest.raises(InputError, match="The text 3 is a int; give a str"):
        ours.tokenize(["a cat", 3])  # type: ignore[list-item]


def test_threads_tokenize_at_the_same_time(ours: RowTokenizer) -> None:
    batches = [[text] * count for count in (1, 3, 40) for text in TEXTS if fits(ours, text)]
    expected = [ours.tokenize(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for found, wanted in zip(pool.map(ours.tokenize, batches), expected, strict=True):
            assert torch.equal(found, wanted)
