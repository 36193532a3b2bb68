"""CLIP's tokenizer in the files that transformers reads, from the merges in `clip_engine`."""

from __future__ import annotations

import json
from pathlib import Path

from clip_engine.tokenizer import load_merges

START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path) -> None:
    """Write vocab.json, merges.txt and the settings beside them."""
    merges = [" ".join(pair) for pair in load_merges()]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    vocabulary = {token: number for number, token in enumerate(_tokens(merges))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")


def _tokens(merges: list[str]) -> list[str]:
    """All tokens in the order of their numbers: bytes, bytes that end a word, merges, two marks."""
    letters = _byte_letters()
    joined = ["".join(merge.split()) for merge in merges]
    return [*letters, *(letter + "</w>" for letter in letters), *joined, START, END]


def _byte_letters() -> list[str]:
    """A visible letter for each byte, printable ones first (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + i) for i in range(len(others)))]
