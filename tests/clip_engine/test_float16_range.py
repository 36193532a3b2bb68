"""The default precision on a GPU where a model overflows float16, or is stored in bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.image_zoo import pixels_of
from support.tiny_clip import openai_state, write_tiny
from support.transformers_families import save_model

from clip_engine import load_engine
from clip_engine.errors import Float16RangeError
from clip_engine.families import load, transformers
from clip_engine.precision import Precision, default_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torch import Tensor


@pytest.fixture
def as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's default precision is that of a GPU."""

    def default(_device: torch.device, weights: Iterable[Tensor]) -> Precision:
        return default_precision(torch.device("cuda"), weights)

    for module in (load, transformers):
        monkeypatch.setattr(module, "default_precision", default)


def write_clip(folder: Path) -> Path:
    """A CLIP one of whose activations is about 200,000."""
    state = {name: weight.clone() for name, weight in openai_state().items()}
    state["visual.transformer.resblocks.0.mlp.c_fc.bias"][3] = 2e5
    path = folder / "large.pt"
    torch.save(state, path)
    return path


def write_siglip(folder: Path) -> Path:
    """A SigLIP with the like."""
    saved = save_model("siglip2", folder)
    path = saved.path / "model.safetensors"
    state = load_file(path)
    state["vision_model.encoder.layers.0.mlp.fc1.bias"][3] = 2e5
    save_file(state, path, metadata={"format": "pt"})
    return saved.path


@pytest.mark.usefixtures("as_on_cuda")
@pytest.mark.parametrize("write", [write_clip, write_siglip])
def test_a_model_that_overflows_float16_runs_in_bfloat16_unless_float16_is_asked_for(
    write: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(write(tmp_path))
    # when
    engine = load_engine(path)
    # then one warning says so, and features are right
    assert engine.model.precision == "bfloat16"
    [message] = [each.message for each in caplog.records if each.name.startswith("clip_engine")]
    assert message.endswith("runs in bfloat16: its activations are too large for float16.")
    exact = load_engine(path, precision="float32")
    pixels = pixels_of(exact, 3)
    cosines = (engine.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(dim=-1)
    assert cosines.min() > 0.99
    # and who asks for float16 is refused
    with pytest.raises(Float16RangeError, match="run it in bfloat16 or float32"):
        load_engine(path, precision="float16")


@pytest.mark.usefixtures("as_on_cuda")
def test_a_model_that_is_stored_in_bfloat16_runs_in_it(tmp_path: Path) -> None:
    stored = write_tiny(tmp_path, "b.pt", dtype=torch.bfloat16)
    other = write_tiny(tmp_path, "h.pt", dtype=torch.float16)
    assert load_engine(str(stored)).model.precision == "bfloat16"
    assert load_engine(str(other)).model.precision == "float16"
