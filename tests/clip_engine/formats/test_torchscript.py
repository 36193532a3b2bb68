"""TorchScript archives: bit by bit where they are sound, and never run."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING

import pytest
import torch
from support.checkpoints import JIT_WARNINGS, assert_same, halves, refusal, write_archive
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_state
from torch import Tensor, nn

from clip_engine.formats.weights_file import read_weights
from clip_engine.model import CLIP, CLIPConfig, build_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(*JIT_WARNINGS)

EXTRAS = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]


# --- what torch.jit writes ---


class Parts(nn.Module):
    """All that an archive may hold: nested modules, buffers, a sequence, tensors of every type."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(OrderedDict(first=nn.Linear(3, 4), second=nn.Linear(4, 2)))
        self.norm = nn.BatchNorm1d(2)
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.register_buffer("empty", torch.zeros(0, 5))
        self.register_buffer("flags", torch.tensor([True, False]))
        for dtype in DTYPES:
            self.register_buffer(
                f"of_{dtype}", torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
            )
        self.number = 7
        self.name = "parts"

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.stack(x)) * self.scale


@pytest.mark.parametrize("how", ["script", "trace"])
def test_an_archive_gives_what_its_own_state_dict_holds(tmp_path: Path, how: str) -> None:
    # given
    parts = Parts().eval()
    scripted = (
        torch.jit.script(parts) if how == "script" else torch.jit.trace(parts, torch.ones(1, 3))
    )
    path = tmp_path / "archive.pt"
    torch.jit.save(scripted, path)
    # then
    assert_same(read_weights(path).state, parts.state_dict())
    assert_same(read_weights(path).state, torch.jit.load(path).state_dict())


@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET])
@pytest.mark.parametrize("weights", [tiny_state, halves])
def test_a_traced_clip_comes_back_bit_by_bit_and_builds(
    tmp_path: Path, config: CLIPConfig, weights: Callable[[CLIPConfig], dict[str, Tensor]]
) -> None:
    # given an archive as OpenAI's: traced, in these dtypes, with its three extra entries
    model = CLIP(config).requires_grad_(requires_grad=False).eval()
    model.load_state_dict(weights(config), assign=True)
    for name, number in EXTRAS.items():
        model.register_buffer(name, torch.tensor(number))
    dtype = model.logit_scale.dtype
    pixels = torch.zeros(1, 3, config.image_resolution, config.image_resolution, dtype=dtype)
    tokens = torch.tensor([[49406, 320, 49407] + [0] * 74])
    path = tmp_path / "archive.pt"
    torch.jit.save(torch.jit.trace(model, (pixels, tokens), check_trace=False), path)
    # when
    state = read_weights(path).state
    # then
    assert_same(state, model.state_dict())
    assert build_model(state).config == config


def test_views_of_one_storage_come_back_as_they_were(tmp_path: Path) -> None:
    # given buffers that are a transposed, a strided and an offset view of the same numbers
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.arange(24.0).reshape(4, 6)
            for name, view in {"t": whole.T, "s": whole[::2, 1::3], "o": whole[2]}.items():
                self.register_buffer(name, view)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.t.sum() + self.s.sum() + self.o.sum()

    views = Views()
    path = tmp_path / "archive.pt"
    torch.jit.save(torch.jit.trace(views, torch.ones(1)), path)
    assert_same(read_weights(path).state, views.state_dict())


def test_the_attention_mask_that_openais_modules_carry_is_left_out(tmp_path: Path) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.attn_mask = torch.zeros(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight + self.attn_mask

    path = tmp_path / "archive.pt"
    torch.jit.save(torch.jit.script(Masked()), path)
    assert set(read_weights(path).state) == {"weight"}


# --- what is refused ---


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of one weight, written by hand."""
    return write_archive(tmp_path / "archive.pt", {"weight": torch.arange(4.0)})


def test_a_cut_off_archive_is_refused(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-30])
    refusal(archive)


def test_a_flipped_bit_in_an_archives_weights_is_found(archive: Path) -> None:
    # given a bit of the number 3.0 turned
    data = bytearray(archive.read_bytes())
    data[data.index(torch.tensor([3.0]).numpy().tobytes())] ^= 1
    archive.write_bytes(data)
    # then
    message = refusal(archive)
    assert "'archive/data/0' in it has a wrong checksum; download it again" in message


@pytest.mark.parametrize(
    "payload",
    [
        b"cos\nsystem\n(S'touch trace'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"ctorch\nload\n(S'x'\ntR.",
        b"ctorch._utils\n_rebuild_tensor\n.",
        b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
        b"cclip_engine.formats\nread_checkpoint\n(S'x'\ntR.",
        b"ccollections\nCounter\n.",
        b"c__builtin__\nexec\n.",
    ],
)
def test_an_archive_that_names_anything_but_the_classes_of_a_model_is_refused_by_that_name(
    tmp_path: Path, payload: bytes
) -> None:
    path = write_archive(tmp_path / "model.pt", {}, payload)
    name = ".".join(payload[1:].decode().split("\n")[:2])
    assert f"it uses {name}, which no model archive needs" in refusal(path)


def test_a_tensor_that_reaches_past_its_storage_is_refused(tmp_path: Path) -> None:
    # given 4 numbers of which the pickle claims 400
    path = tmp_path / "source.pt"
    torch.save({"w": torch.arange(4.0)}, path)
    with zipfile.ZipFile(path) as saved:
        data = saved.read("source/data.pkl")
    assert data.count(b"K\x04\x85") == 1  # the tuple (4,)
    longer = data.replace(b"K\x04\x85", b"M\x90\x01\x85")
    write_archive(tmp_path / "model.pt", {"w": torch.arange(4.0)}, longer)
    assert "holds a dict" not in refusal(tmp_path / "model.pt")


def test_an_archive_without_a_module_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.pt", {"a": 1})
    assert "TorchScript archive of a dict, not a module" in refusal(path)


@pytest.mark.parametrize("name", ["archive/constants.pkl", "readme.txt"])
def test_a_zip_without_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(name, b"")
    refusal(path)
