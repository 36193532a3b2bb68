"""Reading weights from the two kinds of file that OpenAI's CLIP has: no code of the file runs.

A plain state dict (`torch.save`) is read by `torch.load(weights_only=True)`. A TorchScript archive
(`torch.jit.save`, which is how OpenAI publishes) is read here: its `data.pkl` describes a tree of
modules, whose classes are rebuilt as empty shells; its tensors are taken as they lie in the zip.
Neither needs `torch.jit`, which is deprecated.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from clip_engine.errors import CheckpointError
from clip_engine.model.config import StateDict

# Type names as TorchScript's pickles write them (torch/csrc/jit/serialization/pickler.cpp).
STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# What training wraps around the weights: {"state_dict": {...}, "epoch": 3, ...}.
WRAPPER_KEYS = ("state_dict", "model_state_dict", "model")
# A tensor attribute of OpenAI's modules that is built, not learnt.
DERIVED_SUFFIX = "attn_mask"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint, on the CPU, in the dtype they are stored in.

    Args:
        path: A TorchScript archive or a `torch.save` file; which of them is found from its content.

    Raises:
        CheckpointError: The file can't be read, is neither kind, is cut off, or would run code.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_whole(path)
            if _is_torchscript(path):
                return _read_torchscript(path)
        return _weights(torch.load(path, map_location="cpu", weights_only=True), path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # a wrong file can fail anywhere inside pickle, zip or torch
        raise CheckpointError(
            f"{str(path)!r} is no checkpoint that can be read safely ({_reason(error)}). Give a "
            "torch.save state dict or a TorchScript archive, whole and unchanged."
        ) from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    """The cause in one line, without torch's advice to load the file and run its code."""
    text = str(error)
    if named := re.search(r"\bGLOBAL ([\w.]+)", text):
        return f"it names {named[1]}, which no state dict needs"
    if "Weights only load failed" in text:
        return "it holds no pickled tensors"
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _check_whole(path: Path) -> None:
    # torch.load doesn't compare the checksums: a flipped bit would be a wrong weight.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise CheckpointError(
            f"{str(path)!r} is damaged: the checksum of {broken!r} in it is wrong; fetch it again."
        )


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _weights(loaded: object, path: Path) -> dict[str, Tensor]:
    """Find the state dict in what `torch.load` gave, and take the data-parallel prefix off."""
    for key in WRAPPER_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(
        isinstance(value, Tensor) for value in loaded.values()
    ):
        raise CheckpointError(
            f"{str(path)!r} holds a {type(loaded).__name__} that is no state dict; give a file "
            "made by torch.save(model.state_dict(), path)."
        )
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


class _Shell:
    """Stands for a module or any other class of the archive: it only keeps the attributes."""

    def __init__(self, *_: object) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.attributes = state


class _ArchiveUnpickler(pickle.Unpickler):
    """Rebuilds an archive's tree of modules from shells, and knows no other class."""

    def __init__(self, pickled: IO[bytes], archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(pickled)
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:  # the name is pickle's
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        if module == "torch.jit._pickle":  # typed lists and dicts: build_intlist, restore_type_tag
            return _first
        if module.startswith("__torch__"):
            return _Shell
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no model archive needs")

    def persistent_load(self, pid: Any) -> Tensor:
        """Give the storage `("storage", dtype, key, device, length)` as a flat tensor."""
        _, dtype, key, _, length = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = (
                torch.frombuffer(data, dtype=dtype, count=length)
                if length
                else torch.empty(0, dtype=dtype)
            )
        return self._storages[key]


def _view(storage: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _first(value: object, *_: object) -> object:
    return value


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).split("/")[0]
        with archive.open(f"{root}/data.pkl") as pickled:
            module = _ArchiveUnpickler(pickled, archive, root).load()
    if not isinstance(module, _Shell):
        raise CheckpointError(
            f"{str(path)!r} is a TorchScript archive that holds a {type(module).__name__}, no "
            "module; give one made by torch.jit.save(model, path)."
        )
    return dict(_walk(module, ""))


def _walk(module: _Shell, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors below a module, by the names that `state_dict()` would give them."""
    for name, value in module.attributes.items():
        if isinstance(value, Tensor) and name != DERIVED_SUFFIX:
            yield prefix + name, value
        elif isinstance(value, _Shell):
            yield from _walk(value, f"{prefix}{name}.")


__all__ = ["StateDict", "file_digest", "read_state_dict"]
