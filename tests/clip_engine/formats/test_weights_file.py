"""Reading files of weights: bit by bit where they are sound, one sentence where they are not."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from support.checkpoints import assert_same, halves, refusal, write_archive
from support.tiny_clip import TINY_RESNET, TINY_VIT
from torch import Tensor, nn

from clip_engine.formats.weights_file import read_weights
from clip_engine.model import CLIPConfig, build_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


@pytest.fixture
def saved(path: Path) -> Path:
    """A sound file, for tests to break."""
    torch.save(halves(), path)
    return path


# --- torch.save files ---


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET])
def test_a_state_dict_comes_back_bit_by_bit_and_builds_the_model(
    path: Path, config: CLIPConfig, *, zipped: bool
) -> None:
    torch.save(halves(config), path, _use_new_zipfile_serialization=zipped)
    state = read_weights(path).state
    assert_same(state, halves(config))
    assert build_model(state).config == config


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "name": "run"},
        lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state},
        OrderedDict,
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"module.{name}": v for name, v in state.items()}},
    ],
)
def test_what_training_wraps_around_the_weights_is_taken_off(
    path: Path, wrap: Callable[[dict[str, Tensor]], object]
) -> None:
    torch.save(wrap(halves()), path)
    assert_same(read_weights(path).state, halves())


def test_only_the_first_module_prefix_is_taken_off(path: Path) -> None:
    torch.save({"module.module.a": torch.zeros(1), "x.module.b": torch.ones(1)}, path)
    assert set(read_weights(path).state) == {"module.a", "x.module.b"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(3), "holds a Tensor"),
        ([torch.zeros(3)], "holds a list"),
        ({"epoch": 3, "weight": torch.zeros(3)}, "holds a dict"),
        ({"state_dict": [1]}, "holds a dict"),
    ],
)
def test_a_saved_thing_that_is_no_state_dict_is_named(
    path: Path, content: object, words: str
) -> None:
    torch.save(content, path)
    message = refusal(path)
    assert words in message
    assert "torch.save(model.state_dict(), path)" in message


def test_a_whole_saved_module_is_refused_for_it_would_run_its_class(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)
    message = refusal(path)
    assert "it uses torch.nn.modules.linear.Linear, which no state dict needs" in message
    # and nobody is told to trust the file, as torch would
    assert "weights_only" not in message


# --- safetensors ---


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_safetensors_file_comes_back_bit_by_bit_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    save_file(halves(TINY_RESNET), tmp_path / name)
    assert_same(read_weights(tmp_path / name).state, halves(TINY_RESNET))


@pytest.mark.parametrize("keep", [9, 100, 5000, -1])
def test_a_cut_off_safetensors_file_is_refused(path: Path, keep: int) -> None:
    save_file(halves(), path)
    path.write_bytes(path.read_bytes()[:keep])
    assert "give an intact" in refusal(path)


def test_a_safetensors_file_with_a_broken_header_is_refused(path: Path) -> None:
    save_file(halves(), path)
    data = bytearray(path.read_bytes())
    data[data.index(b'"dtype"')] ^= 1
    path.write_bytes(data)
    assert "give an intact" in refusal(path)


# --- what can't be read, is cut off or damaged ---


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.pt", read_weights)
    assert "Is a directory" in refusal(tmp_path, read_weights)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(saved: Path) -> None:
    saved.chmod(0)
    assert "Permission denied" in refusal(saved)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>", "is a web page"),
        (b"<html>" + b" " * 10_000, "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n", "Git LFS pointer"),
        (b'{"model_type": "clip"}', "is a JSON file: give its folder"),
        (b"", "is truncated after 0 bytes"),
        (b"PK\x03\x04", "is truncated after 4 bytes"),
        (b"PK\x03\x04" + b"\0" * 100, "is truncated after 104 bytes"),
        (b"\0" * 4096, "give an intact"),
        (pickle.dumps([1, 2, 3]), ""),
        (pickle.dumps({"a": 1}), ""),
        (b"\x80\x04.", "give an intact"),
    ],
)
def test_what_is_not_a_checkpoint_is_refused_and_named_if_it_is_known(
    path: Path, content: bytes, words: str
) -> None:
    path.write_bytes(content)
    assert words in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_download_that_was_cut_off_is_refused(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    assert "download it again" in refusal(saved)


def test_a_flipped_bit_in_a_saved_weight_is_found(path: Path) -> None:
    torch.save({"weight": torch.full((4096,), 3.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\0\0\x40\x40" * 100) + 200] ^= 1
    path.write_bytes(data)
    assert "is damaged" in refusal(path)


# --- code ---


class Touch:
    """Its pickle creates a file when it is loaded by an unpickler that trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy", "archive", "in an archive's weights"])
def test_no_code_of_a_file_runs(path: Path, kind: str) -> None:
    # given a file of each kind that would leave a trace
    trace = path.with_name("trace")
    evil = {"weight": Touch(trace)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif kind == "archive":
        write_archive(path, {}, pickle.dumps(evil))
    elif kind == "in an archive's weights":
        write_archive(path, {}, pickle.dumps({"weight": [Touch(trace), torch.zeros]}))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=kind == "zip")
    # then nothing happened
    refusal(path)
    assert not trace.exists()
    # though the same bytes do leave it when they are trusted
    if kind == "pickle":
        pickle.loads(path.read_bytes())["weight"].close()
        assert trace.exists()
