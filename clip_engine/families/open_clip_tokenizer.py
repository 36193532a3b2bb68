"""open_clip's tokenizers, without truncation.

Its own tokenizers cut a text that is too long without a word. Here they only clean and encode; the
length is checked and rows are padded in this module. That also makes them safe for threads: one of
transformers' tokenizers changes its state when padding or truncation is asked for, and fails with
"Already borrowed" if another thread is encoding.
Axes: N texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_engine.errors import CheckpointError, InputError, TextTooLongError
from clip_engine.families.extra import open_clip
from clip_engine.quoting import quoted
from clip_engine.tokenizer import too_long
from clip_engine.weights.layouts import TOKENIZER_FILES, VOCABULARIES

CONTEXT_LENGTH = 77  # open_clip's default
# Arguments of open_clip's tokenizers that a config may set; others could run a folder's code.
SIMPLE_OPTIONS = frozenset({"clean"})
HUB_OPTIONS = frozenset({"clean", "strip_sep_token", "language"})
TRAINING_OPTIONS = frozenset({"reduction_mask"})  # how to shorten texts at random


@dataclass(frozen=True)
class RowTokenizer:
    """Converts texts to rows of token numbers. Thread-safe.

    Attributes:
        encode: All of several texts' token numbers, with their marks.
        marks: Number of marks in a row, which texts can't have.
        context_length: T, including marks.
        pad: Fills rows.
        pad_left: Whether rows are filled on the left.
        last: The token in the last column of all rows; None for none.
        files: That determine the tokens.
    """

    encode: Callable[[Sequence[str]], list[list[int]]]
    marks: int
    context_length: int
    pad: int = 0
    pad_left: bool = False
    last: int | None = None
    files: tuple[Path, ...] = ()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token numbers, int64 `[N, T]`.

        Raises:
            InputError: A text is not a string.
            TextTooLongError: A text has too many tokens; nothing is truncated.
        """
        for text in texts:
            if not isinstance(text, str):
                raise InputError(f"The text {quoted(text)} is a {type(text).__name__}; give a str.")
        width = self.context_length if self.last is None else self.context_length - 1
        result = torch.full((len(texts), self.context_length), self.pad, dtype=torch.int64)
        if self.last is not None:
            result[:, -1] = self.last
        for row, text, numbers in zip(result, texts, self.encode(texts), strict=True):
            if len(numbers) > width:
                limit = self.context_length - self.marks
                found = len(numbers) - width + limit
                raise TextTooLongError(too_long(text, found, limit))
            start = width - len(numbers) if self.pad_left else 0
            row[start : start + len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        return result


def read_tokenizer(text_config: Mapping[str, Any], folders: Sequence[Path]) -> RowTokenizer:
    """The tokenizer of a model: CLIP's, or one of transformers from local files.

    Args:
        text_config: `text_cfg`.
        folders: Where the files of transformers' tokenizer may be; the first that has them counts.

    Raises:
        CheckpointError: The files are missing or can't be read, or the config asks for a tokenizer
            that isn't supported.
    """
    length = text_config.get("context_length") or CONTEXT_LENGTH
    options = dict(text_config.get("tokenizer_kwargs") or {})
    name = text_config.get("hf_tokenizer_name")
    unknown = options.keys() - (HUB_OPTIONS if name else SIMPLE_OPTIONS | TRAINING_OPTIONS)
    if unknown:
        raise CheckpointError(
            f"The config's tokenizer_kwargs have {', '.join(sorted(unknown))}, which is not "
            f"supported; remove it, or use a model without it."
        )
    if not name:
        clean = {option: options[option] for option in SIMPLE_OPTIONS & options.keys()}
        return _simple(length, clean)
    folder = next((one for one in folders if _has_tokenizer(one)), None)
    if folder is None:
        raise CheckpointError(
            f"The tokenizer {name!r} has no files in {', '.join(repr(str(one)) for one in folders)}"
            f"; download tokenizer.json with `hf download {name}`, or put it beside the weights."
        )
    return _from_transformers(folder, length, text_config.get("tokenizer_mode"), options)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in VOCABULARIES)


def _simple(length: int, options: Mapping[str, Any]) -> RowTokenizer:
    simple = open_clip().SimpleTokenizer(context_length=length, **options)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        start, end = simple.sot_token_id, simple.eot_token_id
        return [[start, *simple.encode(text), end] for text in texts]

    return RowTokenizer(encode, marks=2, context_length=length)


def _from_transformers(
    folder: Path, length: int, mode: object, options: Mapping[str, Any]
) -> RowTokenizer:
    try:
        wrapper = open_clip().tokenizer.HFTokenizer(
            str(folder),
            context_length=length,
            tokenizer_mode=mode,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
        files = tuple(folder / name for name in TOKENIZER_FILES if (folder / name).is_file())
        tokenizer = _clips(wrapper, length) if mode == "clips" else _standard(wrapper, length)
        tokenizer.encode(["first"])  # sets the state that later calls need
    except Exception as error:  # whatever transformers and tokenizers raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"The tokenizer in {str(folder)!r} can't be read ({reason}); download its files again."
        ) from error
    return replace(tokenizer, files=files)


def _standard(wrapper: Any, length: int) -> RowTokenizer:
    hub = wrapper.tokenizer
    separator = hub.sep_token_id if wrapper.strip_sep_token else None
    pad = int(hub.pad_token_id)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        rows = _encode(wrapper, texts, marks=True)
        if separator is None:
            return rows
        return [[0 if number == separator else number for number in row] for row in rows]

    return RowTokenizer(
        encode,
        marks=hub.num_special_tokens_to_add(),
        context_length=length,
        pad=0 if pad == separator else pad,
        pad_left=hub.padding_side == "left",
    )


def _clips(wrapper: Any, length: int) -> RowTokenizer:
    """As CLIPS was trained (arXiv:2411.16828): a class token in the last column."""
    hub = wrapper.tokenizer
    start, end = int(hub.bos_token_id), int(hub.eos_token_id)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [[start, *row, end] for row in _encode(wrapper, texts, marks=False)]

    last = int(hub.cls_token_id)
    return RowTokenizer(
        encode, marks=3, context_length=length, pad=int(hub.pad_token_id), last=last
    )


def _encode(wrapper: Any, texts: Sequence[str], *, marks: bool) -> list[list[int]]:
    if not texts:  # transformers can't
        return []
    cleaned = [wrapper.clean_fn(text) for text in texts]
    encoded = wrapper.tokenizer(
        cleaned, add_special_tokens=marks, padding=False, truncation=False, verbose=False
    )
    return list(encoded["input_ids"])
