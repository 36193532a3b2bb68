"""Reads TorchScript archives, the format of OpenAI's files, without the deprecated `torch.jit`.

An archive's `data.pkl` holds a tree of modules. Their classes are replaced by empty shells, and the
tensors are read from the zip file; none of the archive's code is compiled or run.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from clip_engine.errors import CheckpointError

# Type names in TorchScript's pickles (torch/csrc/jit/serialization/pickler.cpp).
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
# A tensor attribute of OpenAI's modules that is computed, not learnt.
DERIVED_NAME = "attn_mask"


def is_torchscript(path: Path) -> bool:
    """Whether a zip file is a TorchScript archive; only those have a table of constants."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> tuple[dict[str, Tensor], frozenset[str]]:
    """Read an archive's weights.

    Returns:
        The tensors by their names in `state_dict()`, and the names of all module classes in the
        archive, such as `LayerNorm`.

    Raises:
        CheckpointError: It doesn't hold a module.
        Exception: Anything that pickle, zipfile or torch raise for a damaged archive.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).split("/")[0]
        with archive.open(f"{root}/data.pkl") as pickled:
            unpickler = _ArchiveUnpickler(pickled, archive, root)
            module = unpickler.load()
    if not isinstance(module, _Shell):
        raise CheckpointError(
            f"{str(path)!r} is a TorchScript archive of a {type(module).__name__}, not a module; "
            "give one written by torch.jit.save(model, path)."
        )
    return dict(_walk(module, "")), frozenset(unpickler.classes)


class _Shell:
    """Stands for an object of any class in the archive; only keeps its attributes."""

    def __init__(self, *_: object) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.attributes = state


class _ArchiveUnpickler(pickle.Unpickler):
    """Rebuilds an archive's tree of modules from shells, and refuses all other classes."""

    def __init__(self, pickled: IO[bytes], archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(pickled)
        self.classes: set[str] = set()
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
            self.classes.add(name)
            return _Shell
        raise pickle.UnpicklingError(f"it uses {module}.{name}, which no model archive needs")

    def persistent_load(self, pid: Any) -> Tensor:
        """The storage `("storage", dtype, key, device, length)` as a flat tensor."""
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


def _walk(module: _Shell, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a module and its submodules, by their names in `state_dict()`."""
    for name, value in module.attributes.items():
        if isinstance(value, Tensor) and name != DERIVED_NAME:
            yield prefix + name, value
        elif isinstance(value, _Shell):
            yield from _walk(value, f"{prefix}{name}.")
