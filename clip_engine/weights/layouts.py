"""The names of a model's files, in folders and in repositories of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

HUGGING_FACE_CONFIG = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"
# A config's name, and the names of the weights beside it; the first that exists is used. OpenCLIP's
# folders often hold a Hugging Face config too, sometimes of timm's image tower alone.
LAYOUTS = (
    (OPEN_CLIP_CONFIG, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")),
    (
        HUGGING_FACE_CONFIG,
        (
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
        ),
    ),
)
INDEX_SUFFIX = ".index.json"
# At least one of these is in the folder of every tokenizer of transformers'.
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
TOKENIZER_FILES = (
    *VOCABULARIES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
# Files of a few kilobytes to a few megabytes that a model may need beside its weights.
SMALL_FILES = (
    HUGGING_FACE_CONFIG,
    OPEN_CLIP_CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    *TOKENIZER_FILES,
)
# open_clip prefers these to the file that its table of tags names.
_SAFETENSORS = {"open_clip_pytorch_model.bin": "open_clip_model.safetensors"}
_BARE_WEIGHTS = (".bin", ".pt", ".pth")


def weights_by_config(names: Collection[str]) -> list[str]:
    """The weights to use of a folder's or repository's files: those of the first config they have.

    Returns:
        One file, or an index and its shards; nothing if there are no weights beside a config.
    """
    for config, weights in LAYOUTS:
        if config in names and (found := first_weights(names, weights)):
            return found
    return []


def small_files(names: Collection[str]) -> list[str]:
    """The configs and files of tokenizers among a repository's files."""
    return [name for name in SMALL_FILES if name in names]


def has_tokenizer(names: Collection[str]) -> bool:
    """Whether the files of a folder include a tokenizer's."""
    return any(name in names for name in VOCABULARIES)


def first_weights(names: Collection[str], candidates: Iterable[str]) -> list[str]:
    """The first of the candidates that is among the names, with its shards if it is an index."""
    for candidate in candidates:
        if candidate in names and (shards := _shards(names, candidate)):
            return list(dict.fromkeys([candidate, *shards]))
    return []


def tag_weights(filename: str) -> Sequence[str]:
    """The candidates for the weights that open_clip's table names, safetensors first."""
    stem, dot, suffix = filename.rpartition(".")
    safe = _SAFETENSORS.get(filename)
    if safe is None and dot + suffix in _BARE_WEIGHTS:
        safe = f"{stem}.safetensors"
    return (filename,) if safe is None else (safe, filename)


def _shards(names: Collection[str], candidate: str) -> list[str]:
    """The files with the tensors: the candidate itself, or all shards of an index."""
    if not candidate.endswith(INDEX_SUFFIX):
        return [candidate]
    stem, _, suffix = candidate.removesuffix(INDEX_SUFFIX).rpartition(".")
    shard = re.compile(rf"{re.escape(stem)}-\d+-of-(\d+)\.{re.escape(suffix)}")
    found = {name: match for name in sorted(names) if (match := shard.fullmatch(name))}
    wanted = {int(match[1]) for match in found.values()}
    return list(found) if wanted == {len(found)} else []
