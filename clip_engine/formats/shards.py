"""The index of sharded weights, as Hugging Face's libraries write it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from clip_engine.errors import CheckpointError
from clip_engine.formats.config_file import read_config
from clip_engine.model.state_dict_diff import name_problems

INDEX_SUFFIX = ".index.json"


class ShardIndex(BaseModel, frozen=True):
    """`<name>.index.json`: which shard holds which tensor."""

    weight_map: dict[str, str]


def read_index(path: Path) -> list[Path]:
    """The shards of an index, all of them there, each once.

    Raises:
        CheckpointError: The index is wrong, names files outside its folder, or shards are missing.
    """
    names = sorted(set(read_config(path, ShardIndex).weight_map.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside or not names:
        raise CheckpointError(
            f"{str(path)!r} must name files of its own folder, but names {outside or 'none'}."
        )
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"Of the {len(names)} files that {str(path)!r} names, {name_problems(missing, [])}; "
            "fetch them too."
        )
    return [path.parent / name for name in names]
