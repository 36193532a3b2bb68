"""Checkpoints for tests: weights to write, folders to break, and how they are refused."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.tiny_clip import TINY_VIT, tiny_state

from clip_engine import load_engine
from clip_engine.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from clip_engine.model import CLIPConfig

# To make a TorchScript archive takes torch.jit, which is deprecated; to read one doesn't.
JIT_WARNINGS = (
    "ignore:.*torch.jit.*:DeprecationWarning",
    "ignore:.*torch.jit.*:FutureWarning",
    "ignore::torch.jit.TracerWarning",
)
TIMM_WARNINGS = ("ignore::FutureWarning:timm", "ignore::UserWarning:timm")


def halves(config: CLIPConfig = TINY_VIT) -> dict[str, Tensor]:
    """Weights as OpenAI stores them: float16 but for the counters."""
    return {
        name: value.half() if value.is_floating_point() else value
        for name, value in tiny_state(config).items()
    }


def assert_same(read: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """The same names, dtypes, shapes and bits."""
    assert set(read) == set(expected)
    for name, value in expected.items():
        assert (read[name].dtype, read[name].shape) == (value.dtype, value.shape), name
        assert torch.equal(read[name], value), name


def write_archive(path: Path, attributes: dict[str, Any], data: bytes | None = None) -> Path:
    """An archive as `torch.jit.save` writes it, or with these bytes for its `data.pkl`."""
    source, target = io.BytesIO(), zipfile.ZipFile(path, "w")
    torch.save(attributes, source)
    with zipfile.ZipFile(source) as saved, target:
        for name in saved.namelist():
            rest = name.partition("/")[2]
            content = data if rest == "data.pkl" and data is not None else saved.read(name)
            target.writestr(f"archive/{rest}", content)
        target.writestr("archive/constants.pkl", pickle.dumps(()))
    return path


def edit_json(path: Path, section: str, **entries: Any) -> None:
    """Change entries of a section of a config file; of the whole file if the section is empty."""
    config = json.loads(path.read_text())
    (config[section] if section else config).update(entries)
    path.write_text(json.dumps(config))


def _load(path: Path) -> None:
    load_engine(str(path))


def refusal(path: Path, load: Callable[[Path], object] = _load) -> str:
    """The one sentence that a checkpoint's refusal is; it names the path, or a file in it."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    shown = repr(str(path))
    assert (shown[:-1] if path.is_dir() else shown) in message
    assert "\n" not in message
    assert "\x1b" not in message
    assert message.endswith(".")
    return message
