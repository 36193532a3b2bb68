"""Reads one file of weights, whatever wrote it: its tensors by name.

A cut-off file is always found. A flipped bit is where the file has checksums, which TorchScript
archives and zipped `torch.save` files have; safetensors and older `torch.save` files have none.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from safetensors.torch import load_file
from torch import Tensor

from clip_engine.errors import CheckpointError
from clip_engine.formats.shards import INDEX_SUFFIX, read_index
from clip_engine.formats.torch_file import read_torch_file
from clip_engine.formats.torchscript import is_torchscript, read_torchscript

Container: TypeAlias = Literal[
    "TorchScript archive", "state dict", "training checkpoint", "safetensors"
]
ZIP_START = b"PK\x03\x04"
# The header's length in 8 bytes, little end first and far below 2**40; the header, which is JSON.
SAFETENSORS_START = re.compile(rb".{5}\0\0\0\{", re.DOTALL)
# Beginnings of files that people give by mistake, and what happened.
MISTAKEN = (
    (b"<", "is a web page: the download gave an error or a login instead of the file"),
    (b"version https://git-lfs", "is a Git LFS pointer: `git lfs pull` fetches what it stands for"),
    (b"{", "is JSON text: give the folder that it describes, or the file of weights"),
)


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds.

    Attributes:
        container: What wrote it.
        files: It, or a sharded one's index and shards.
        state: Tensors by their names in the file, on the CPU.
        classes: Names of the module classes that a TorchScript archive tells.
    """

    container: Container
    files: tuple[Path, ...]
    state: dict[str, Tensor]
    classes: frozenset[str] = frozenset()


def read_weights(path: Path) -> WeightsFile:
    """Read a file of weights; what it is, is found from its content, and nothing in it runs.

    Raises:
        CheckpointError: The file can't be read, is of no kind that holds weights, is cut off or
            damaged, or would run code.
    """
    return _read_sharded(path) if path.name.endswith(INDEX_SUFFIX) else _read_one(path)


def _read_one(path: Path) -> WeightsFile:
    try:
        return _reader(path)(path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # a wrong file can fail anywhere inside pickle, zip or torch
        raise CheckpointError(
            f"{str(path)!r} is no checkpoint that can be read safely ({_reason(error)}). Give a "
            "torch.save state dict, a TorchScript archive or a safetensors file, whole and "
            "unchanged."
        ) from error


def _reader(path: Path) -> Callable[[Path], WeightsFile]:
    if zipfile.is_zipfile(path):
        _check_whole(path)
        return _read_torchscript if is_torchscript(path) else _read_torch_file
    with path.open("rb") as file:
        start = file.read(64)
    if SAFETENSORS_START.match(start):
        return _read_safetensors
    if start.startswith(ZIP_START) or not start:
        raise CheckpointError(
            f"{str(path)!r} is cut off after {path.stat().st_size} bytes; fetch it again, whole "
            "and unchanged."
        )
    for beginning, mistake in MISTAKEN:
        if start.lstrip().startswith(beginning):
            raise CheckpointError(f"{str(path)!r} {mistake}.")
    return _read_torch_file


def _read_torchscript(path: Path) -> WeightsFile:
    state, classes = read_torchscript(path)
    return WeightsFile("TorchScript archive", (path,), state, classes)


def _read_torch_file(path: Path) -> WeightsFile:
    state, wrapped = read_torch_file(path)
    return WeightsFile("training checkpoint" if wrapped else "state dict", (path,), state)


def _read_safetensors(path: Path) -> WeightsFile:
    return WeightsFile("safetensors", (path,), load_file(path))


def _read_sharded(index: Path) -> WeightsFile:
    shards = [_read_one(shard) for shard in read_index(index)]
    state = {name: value for shard in shards for name, value in shard.state.items()}
    files = (index, *(file for shard in shards for file in shard.files))
    return WeightsFile(shards[0].container, files, state)


def _check_whole(path: Path) -> None:
    # torch.load doesn't compare the checksums: a flipped bit would be a wrong weight.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise CheckpointError(
            f"{str(path)!r} is damaged: the checksum of {broken!r} in it is wrong; fetch it again."
        )


def _reason(error: Exception) -> str:
    """The cause in one line, without torch's advice to load the file and run its code."""
    text = str(error)
    if named := re.search(r"\bGLOBAL ([\w.]+)", text):
        return f"it names {named[1]}, which no state dict needs"
    if "Weights only load failed" in text:
        return "it holds no pickled tensors"
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
