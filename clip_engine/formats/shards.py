"""Reads the index of sharded weights, as Hugging Face's libraries write it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from clip_engine.errors import CheckpointError
from clip_engine.formats.config_file import read_config
from clip_engine.model.state_dict_diff import name_problems


class ShardIndex(BaseModel, frozen=True):
    """`<name>.index.json`: the shard of each tensor."""

    weight_map: dict[str, str]


def read_index(path: Path) -> list[Path]:
    """The paths of an index's shards, each once; all of them exist.

    Raises:
        CheckpointError: The index is invalid, names files outside its folder, or lacks shards.
    """
    names = sorted(set(read_config(path, ShardIndex).weight_map.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside or not names:
        raise CheckpointError(
            f"{str(path)!r} must name files in its own folder, but names {outside or 'none'}."
        )
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"Of the {len(names)} files that {str(path)!r} names, {name_problems(missing, [])}; "
            "download them too."
        )
    return [path.parent / name for name in names]
