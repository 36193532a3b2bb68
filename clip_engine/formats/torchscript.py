"""TorchScript archives (`torch.jit.save`, which is how OpenAI publishes), read without torch.jit.

An archive's `data.pkl` describes a tree of modules. Their classes are rebuilt as empty shells, and
the tensors are taken as they lie in the zip; none of the archive's code is compiled or run.
`torch.jit` itself is deprecated.
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
# A tensor attribute of OpenAI's modules that is built, not learnt.
DERIVED_NAME = "attn_mask"


def is_torchscript(path: Path) -> bool:
    """Whether this zip is a TorchScript archive; only those have a table of constants."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> tuple[dict[str, Tensor], frozenset[str]]:
    """Read an archive's weights.

    Returns:
        The tensors by the names that `state_dict()` would give them, and the names of all module
        classes in the archive, such as `LayerNorm`.

    Raises:
        CheckpointError: It holds no module.
        Exception: Whatever pickle, zip or torch raise for a damaged archive.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).split("/")[0]
        with archive.open(f"{root}/data.pkl") as pickled:
            unpickler = _ArchiveUnpickler(pickled, archive, root)
            module = unpickler.load()
    if not isinstance(module, _Shell):
        raise CheckpointError(
            f"{str(path)!r} is a TorchScript archive that holds a {type(module).__name__}, no "
            "module; give one made by torch.jit.save(model, path)."
        )
    return dict(_walk(module, "")), frozenset(unpickler.classes)


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


def _walk(module: _Shell, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors below a module, by the names that `state_dict()` would give them."""
    for name, value in module.attributes.items():
        if isinstance(value, Tensor) and name != DERIVED_NAME:
            yield prefix + name, value
        elif isinstance(value, _Shell):
            yield from _walk(value, f"{prefix}{name}.")
