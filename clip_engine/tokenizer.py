"""CLIP's byte-level BPE tokenizer.

Sennrich et al. 2015 (arXiv:1508.07909), on bytes as in GPT-2, lower case, with an end-of-word mark.
The merges are OpenAI's (`data/NOTICE`); `scripts/build_merges.py` rebuilds the file.
"""

from __future__ import annotations

import functools
import gzip
import html
import itertools
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources

import ftfy
import regex
import torch
from torch import Tensor

from clip_engine.errors import InputError, TextTooLongError
from clip_engine.quoting import quoted

CONTEXT_LENGTH = 77
END_OF_WORD = "</w>"
START_OF_TEXT = "<|startoftext|>"
END_OF_TEXT = "<|endoftext|>"

# Contractions, runs of letters, single digits, runs of other non-space characters.
WORD_PATTERN = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
)


class Tokenizer:
    """Converts between text and CLIP's token numbers. Thread-safe.

    >>> tokenizer = Tokenizer()
    >>> tokenizer.encode("a photo of a cat.")
    [320, 1125, 539, 320, 2368, 269]
    >>> tokenizer.decode([320, 1125, 539, 320, 2368, 269])
    'a photo of a cat .'

    Args:
        merges: The pairs to merge, in order of priority; CLIP's 48,894 by default.
    """

    def __init__(self, merges: Sequence[tuple[str, str]] | None = None) -> None:
        merges = load_merges() if merges is None else merges
        self._letter_of_byte = byte_letters()
        self._byte_of_letter = {letter: byte for byte, letter in self._letter_of_byte.items()}
        # Token numbers follow the order of the letters, which is not the order of the bytes.
        letters = [*_printable_letters(), *_substitute_letters()]
        tokens = [*letters, *(letter + END_OF_WORD for letter in letters)]
        tokens += [first + second for first, second in merges]
        tokens += [START_OF_TEXT, END_OF_TEXT]
        self._number = {token: number for number, token in enumerate(tokens)}
        self._token = tokens
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._words = regex.compile(WORD_PATTERN, regex.IGNORECASE)
        self._encode_word = functools.lru_cache(maxsize=65536)(self._merge_word)

    @property
    def vocab_size(self) -> int:
        """Number of tokens: 49,408 with CLIP's merges."""
        return len(self._token)

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text, without start and end marks.

        Raises:
            InputError: It is not a string.
        """
        if not isinstance(text, str):
            raise InputError(f"The text {quoted(text)} is a {type(text).__name__}; give a str.")
        words = self._words.findall(clean(text))
        return [number for word in words for number in self._encode_word(word)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these tokens, words separated by spaces, without start and end marks."""
        marks = {self._number[START_OF_TEXT], self._number[END_OF_TEXT]}
        spelled = "".join(self._token[number] for number in numbers if number not in marks)
        spelled = spelled.replace(END_OF_WORD, " ").rstrip(" ")
        data = bytes(self._byte_of_letter.get(letter, ord(" ")) for letter in spelled)
        return data.decode("utf-8", errors="replace")

    def tokenize(
        self,
        texts: str | Iterable[str],
        *,
        context_length: int = CONTEXT_LENGTH,
        truncate: bool = False,
    ) -> Tensor:
        """Token numbers of texts, with start and end marks, as the text tower expects them.

        Args:
            texts: L texts; a single string counts as a list of one.
            context_length: T, the number of columns of the result.
            truncate: Whether to cut texts that are too long instead of raising; the last column
                then holds the end mark.

        Returns:
            int64 `[L, T]`, zeros after each text's end mark.

        Raises:
            InputError: A text is not a string.
            TextTooLongError: A text has more than `context_length - 2` tokens.
        """
        texts = _listed(texts)
        result = torch.zeros(len(texts), context_length, dtype=torch.int64)
        for row, text in zip(result, texts, strict=True):
            numbers = self.encode(text)
            if len(numbers) > context_length - 2 and not truncate:
                raise TextTooLongError(too_long(text, len(numbers), context_length - 2))
            numbers = numbers[: context_length - 2]
            marked = [self._number[START_OF_TEXT], *numbers, self._number[END_OF_TEXT]]
            row[: len(marked)] = torch.tensor(marked)
        return result

    def _merge_word(self, word: str) -> tuple[int, ...]:
        if word in (START_OF_TEXT, END_OF_TEXT):
            return (self._number[word],)
        symbols = [self._letter_of_byte[byte] for byte in word.encode("utf-8")]
        symbols[-1] += END_OF_WORD
        while len(symbols) > 1:
            best = min(_pairs(symbols), key=lambda pair: self._rank.get(pair, len(self._rank)))
            if best not in self._rank:
                break
            symbols = merge(symbols, best)
        return tuple(self._number[symbol] for symbol in symbols)


def clean(text: str) -> str:
    r"""Fix mojibake, unescape HTML entities (twice), collapse white space, convert to lower case.

    >>> clean("  Caf&amp;eacute;\n NOIR ")
    'café noir'
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return regex.sub(r"\s+", " ", text.strip()).strip().lower()


def merge(symbols: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """Merge every occurrence of a pair, left to right.

    >>> merge(["a", "b", "a", "b", "b"], ("a", "b"))
    ['ab', 'ab', 'b']
    """
    merged: list[str] = []
    symbols_left = iter(range(len(symbols)))
    for index in symbols_left:
        if tuple(symbols[index : index + 2]) == pair:
            merged.append(pair[0] + pair[1])
            next(symbols_left)
        else:
            merged.append(symbols[index])
    return merged


def load_merges() -> list[tuple[str, str]]:
    """CLIP's merges from the package's data, in order of priority."""
    data = resources.files("clip_engine").joinpath("data", "bpe_merges.txt.gz").read_bytes()
    pairs = (line.split(" ") for line in gzip.decompress(data).decode("utf-8").splitlines())
    return [(first, second) for first, second in pairs]


def byte_letters() -> dict[int, str]:
    """A printable letter for each byte: its own if it has one, else one from U+0100 on.

    >>> byte_letters()[ord("a")], byte_letters()[ord(" ")]
    ('a', 'Ġ')
    """
    printable = {ord(letter): letter for letter in _printable_letters()}
    others = (byte for byte in range(256) if byte not in printable)
    return printable | dict(zip(others, _substitute_letters(), strict=True))


def _printable_letters() -> list[str]:
    ranges = (("!", "~"), ("¡", "¬"), ("®", "ÿ"))
    return [chr(code) for first, last in ranges for code in range(ord(first), ord(last) + 1)]


def _substitute_letters() -> list[str]:
    return [chr(256 + index) for index in range(256 - len(_printable_letters()))]


def _pairs(symbols: Sequence[str]) -> Iterator[tuple[str, str]]:
    return itertools.pairwise(symbols)


def _listed(texts: str | Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        return [texts]
    try:
        return list(texts)
    except TypeError as error:
        raise InputError(f"Invalid texts {quoted(texts)}; give a list of strings.") from error


def too_long(text: str, found: int, limit: int) -> str:
    """The sentence that refuses a text with too many tokens, marks not counted."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return (
        f"The text {shown!r} has {found} tokens, and the limit is {limit}; shorten or truncate it."
    )
