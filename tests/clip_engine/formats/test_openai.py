"""OpenAI's own two formats, and the same weights through every format's writer."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from support.checkpoints import JIT_WARNINGS, TIMM_WARNINGS, refusal
from support.oracles import assert_agree, open_clip_answers, open_clip_model, our_answers, pictures
from support.tiny_clip import TINY_RESNET, tiny_state, tokenizer

from clip_engine import load_engine
from clip_engine.errors import ModelNotFoundError
from clip_engine.formats import read_checkpoint
from clip_engine.model import Traits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

pytestmark = pytest.mark.filterwarnings(*JIT_WARNINGS, *TIMM_WARNINGS)

CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 56, "layers": 2, "width": 128, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
MARKS = {"input_resolution": 56, "context_length": 77, "vocab_size": 49408}


def oracle(*, quick_gelu: bool = True) -> Any:
    return open_clip_model(CONFIG | {"quick_gelu": quick_gelu}, seed=9)


def marked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the three numbers that OpenAI's model carries."""
    return state | {name: torch.tensor(number) for name, number in MARKS.items()}


def script(model: Any, path: Path) -> None:
    torch.jit.save(torch.jit.script(model), path)


def trace(model: Any, path: Path) -> None:
    inputs = (pictures(56), tokenizer().tokenize(["a cat"] * 2))
    torch.jit.save(torch.jit.trace(model, inputs, check_trace=False), path)


def save(model: Any, path: Path) -> None:
    torch.save(marked(model.state_dict()), path)


def save_safetensors(model: Any, path: Path) -> None:
    save_file(marked(model.state_dict()), path)


# --- each writer, the same answers ---


@pytest.mark.parametrize("write", [script, trace, save, save_safetensors])
def test_a_file_of_each_writer_answers_as_the_model_that_was_written(
    tmp_path: Path, write: Callable[[Any, Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    # given
    model = oracle()
    path = tmp_path / "model.pt"
    write(model, path)
    # when
    checkpoint = read_checkpoint(path)
    # then, and nothing had to be assumed
    assert checkpoint.format.startswith("OpenAI CLIP, ")
    assert checkpoint.traits == Traits()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert_agree(our_answers(checkpoint.build()), open_clip_answers(model))


@pytest.mark.parametrize("write", [script, trace])
def test_an_archive_of_a_gelu_model_tells_so_by_its_classes(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    model = oracle(quick_gelu=False)
    write(model, tmp_path / "model.pt")
    checkpoint = read_checkpoint(tmp_path / "model.pt")
    assert checkpoint.traits.activation == "gelu"
    assert_agree(our_answers(checkpoint.build()), open_clip_answers(model))


def test_a_config_of_another_model_in_the_folder_does_not_matter(tmp_path: Path) -> None:
    # given a folder of downloads
    save(oracle(), tmp_path / "model.pt")
    for name in ("config.json", "open_clip_config.json"):
        (tmp_path / name).write_text("{}")
    # then OpenAI's file is read as what it is
    assert read_checkpoint(tmp_path / "model.pt").build().config.vision_width == 128


def test_a_files_digest_is_its_sha_256(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save(oracle(), path)
    assert read_checkpoint(path).digest() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_engine_may_be_told_the_activation(tmp_path: Path) -> None:
    # given
    model = oracle(quick_gelu=False)
    save(model, tmp_path / "model.pt")
    # when
    engine = load_engine(str(tmp_path / "model.pt"), activation="gelu")
    # then
    assert engine.model.clip.config.activation == "gelu"
    assert engine.identity.digest != read_checkpoint(tmp_path / "model.pt").digest()
    assert_agree(our_answers(engine.model.clip), open_clip_answers(model))


# --- what is refused ---


def test_all_that_is_wrong_with_the_weights_is_listed_with_the_path(tmp_path: Path) -> None:
    # given
    state = dict(tiny_state(TINY_RESNET))
    for index in range(3):
        del state[f"visual.bn{index + 1}.weight"]
    state |= {f"head.{index}": torch.zeros(1) for index in range(7)}
    state |= {"ln_final.bias": torch.zeros(3), "logit_scale": torch.zeros(1)}
    torch.save(marked(state), tmp_path / "model.pt")
    # then
    message = refusal(tmp_path / "model.pt")
    assert "3 missing (visual.bn1.weight, visual.bn2.weight, visual.bn3.weight)" in message
    assert "7 unexpected (head.0, head.1, head.2, head.3, head.4 and 2 more)" in message
    assert "2 wrong shapes (ln_final.bias is 3, not 64, logit_scale is 1, not scalar)" in message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "is empty" in refusal(tmp_path)


def test_a_folder_without_a_config_is_refused_and_its_files_are_named(tmp_path: Path) -> None:
    for index in range(7):
        (tmp_path / f"{index}.pt").touch()
    message = refusal(tmp_path)
    assert "has 0.pt, 1.pt, 2.pt, 3.pt, 4.pt and more, but neither config.json nor" in message


@pytest.mark.parametrize("config", ["config.json", "open_clip_config.json"])
def test_a_folder_without_weights_is_refused_and_told_what_they_are_called(
    tmp_path: Path, config: str
) -> None:
    (tmp_path / config).write_text("{}")
    assert f"no weights ({config} needs one of " in refusal(tmp_path)


def test_a_path_that_is_not_there_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"Unknown model .* path of a checkpoint"):
        load_engine(str(tmp_path / "none"))
