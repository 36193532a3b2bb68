"""Reads files of weights in any container format.

Truncated files are always detected. Bit errors are detected in TorchScript archives and zipped
`torch.save` files, which have checksums; safetensors and older `torch.save` files have none.
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
from clip_engine.formats.foreign import foreign_file
from clip_engine.formats.shards import read_index
from clip_engine.formats.torch_file import read_torch_file
from clip_engine.formats.torchscript import is_torchscript, read_torchscript
from clip_engine.weights.layouts import INDEX_SUFFIX

Container: TypeAlias = Literal[
    "TorchScript archive", "state dict", "training checkpoint", "safetensors"
]
ZIP_START = b"PK\x03\x04"
# The header's length, 8 bytes, little-endian and far below 2**40; then the header, in JSON.
SAFETENSORS_START = re.compile(rb".{5}\0\0\0\{", re.DOTALL)
# First bytes of other files that are given by mistake, and what they are.
MISTAKEN = (
    (b"<", "is a web page: the download returned an error or a login page instead of the file"),
    (b"version https://git-lfs", "is a Git LFS pointer: run `git lfs pull` to download the file"),
    (b"{", "is a JSON file: give its folder, or the file with the weights"),
)


@dataclass(frozen=True)
class WeightsFile:
    """The contents of a file of weights.

    Attributes:
        container: The container format.
        files: The file, or the index and the shards of sharded weights.
        state: Tensors by their names in the file, on the CPU.
        classes: Names of the module classes in a TorchScript archive.
    """

    container: Container
    files: tuple[Path, ...]
    state: dict[str, Tensor]
    classes: frozenset[str] = frozenset()


def read_weights(path: Path) -> WeightsFile:
    """Read a file of weights. Its format is detected from its content; no code in it is run.

    Raises:
        CheckpointError: The file can't be read, has an unknown format, is truncated or damaged, or
            would run code.
    """
    return _read_sharded(path) if path.name.endswith(INDEX_SUFFIX) else _read_one(path)


def _read_one(path: Path) -> WeightsFile:
    try:
        return _reader(path)(path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # anything can fail in pickle, zipfile or torch
        raise CheckpointError(
            f"{str(path)!r} can't be read safely as a checkpoint ({_reason(error)}); give an "
            "intact state dict of torch.save, TorchScript archive or safetensors file."
        ) from error


def _reader(path: Path) -> Callable[[Path], WeightsFile]:
    if kind := foreign_file(path.name):
        raise CheckpointError(f"{str(path)!r} is {kind}.")
    if zipfile.is_zipfile(path):
        _check_whole(path)
        return _read_torchscript if is_torchscript(path) else _read_torch_file
    with path.open("rb") as file:
        start = file.read(64)
    if SAFETENSORS_START.match(start):
        return _read_safetensors
    if start.startswith(ZIP_START) or not start:
        raise CheckpointError(
            f"{str(path)!r} is truncated after {path.stat().st_size} bytes; download it again."
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
    # torch.load doesn't verify the checksums, so a flipped bit would go unnoticed.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise CheckpointError(
            f"{str(path)!r} is damaged: {broken!r} in it has a wrong checksum; download it again."
        )


def _reason(error: Exception) -> str:
    """The cause in one line, without torch's advice to disable `weights_only`."""
    text = str(error)
    if named := re.search(r"\bGLOBAL ([\w.]+)", text):
        return f"it uses {named[1]}, which no state dict needs"
    if "Weights only load failed" in text:
        return "it holds no pickled tensors"
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
