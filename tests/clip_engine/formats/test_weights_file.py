"""Reading files of weights: bit by bit where they are sound, one sentence where they are not."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_state
from torch import Tensor, nn

from clip_engine.errors import CheckpointError
from clip_engine.formats.checkpoint import file_digest
from clip_engine.formats.weights_file import read_weights
from clip_engine.model import CLIP, CLIPConfig, build_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

EXTRAS = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]


def assert_same(read: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """The same names, dtypes, shapes and bits."""
    assert set(read) == set(expected)
    for name, value in expected.items():
        assert (read[name].dtype, read[name].shape) == (value.dtype, value.shape), name
        assert torch.equal(read[name], value), name


def halves(config: CLIPConfig = TINY_VIT) -> dict[str, Tensor]:
    """Weights as OpenAI stores them: float16 but for the counters."""
    return {
        name: value.half() if value.is_floating_point() else value
        for name, value in tiny_state(config).items()
    }


def model_with(state: Mapping[str, Tensor], config: CLIPConfig) -> CLIP:
    """A model that holds exactly these tensors, in their dtypes, and OpenAI's extra entries."""
    model = CLIP(config).requires_grad_(requires_grad=False)
    model.load_state_dict(dict(state), assign=True)
    for name, number in EXTRAS.items():
        model.register_buffer(name, torch.tensor(number))
    return model.eval()


# --- torch.save files ---


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET])
def test_a_state_dict_comes_back_bit_by_bit(
    tmp_path: Path, config: CLIPConfig, *, zipped: bool
) -> None:
    path = tmp_path / "model.pt"
    torch.save(halves(config), path, _use_new_zipfile_serialization=zipped)
    assert_same(read_weights(path).state, halves(config))


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
    tmp_path: Path, wrap: Callable[[dict[str, Tensor]], object]
) -> None:
    path = tmp_path / "model.pt"
    torch.save(wrap(halves()), path)
    assert_same(read_weights(path).state, halves())


def test_only_the_first_module_prefix_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"module.module.a": torch.zeros(1), "x.module.b": torch.ones(1)}, path)
    assert set(read_weights(path).state) == {"module.a", "x.module.b"}


def test_what_was_read_builds_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(halves(TINY_RESNET), path)
    assert build_model(read_weights(path).state).config == TINY_RESNET


# --- TorchScript archives ---


# To make an archive takes torch.jit, which is deprecated; to read one doesn't.
jit = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:DeprecationWarning",
    "ignore:.*torch.jit.*:FutureWarning",
    "ignore::torch.jit.TracerWarning",
)


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


@jit
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


@jit
@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET])
@pytest.mark.parametrize("weights", [tiny_state, halves])
def test_a_traced_clip_comes_back_bit_by_bit_and_builds(
    tmp_path: Path, config: CLIPConfig, weights: Callable[[CLIPConfig], dict[str, Tensor]]
) -> None:
    # given an archive as OpenAI's: traced, with its three extra entries
    model = model_with(weights(config), config)
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


@jit
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


@jit
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


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert repr(str(path)) in message
    assert "\n" not in message
    assert "\x1b" not in message
    assert message.endswith(".")
    return message


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A sound file, for tests to break."""
    path = tmp_path / "model.pt"
    torch.save(halves(), path)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A TorchScript archive of one weight, written by hand."""
    return write_archive(tmp_path / "archive.pt", {"weight": torch.arange(4.0)})


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


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.pt")


def test_a_folder_says_so(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)


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
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert words in refusal(path)


# --- safetensors ---


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_safetensors_file_comes_back_bit_by_bit_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    save_file(halves(TINY_RESNET), tmp_path / name)
    assert_same(read_weights(tmp_path / name).state, halves(TINY_RESNET))


@pytest.mark.parametrize("keep", [9, 100, 5000, -1])
def test_a_cut_off_safetensors_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file(halves(), path)
    path.write_bytes(path.read_bytes()[:keep])
    assert "give an intact" in refusal(path)


def test_a_safetensors_file_with_a_broken_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(halves(), path)
    data = bytearray(path.read_bytes())
    data[data.index(b'"dtype"')] ^= 1
    path.write_bytes(data)
    assert "give an intact" in refusal(path)


# --- cut off and damaged ---


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_download_that_was_cut_off_is_refused(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    assert "download it again" in refusal(saved)


def test_a_cut_off_archive_is_refused(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-30])
    refusal(archive)


def test_a_flipped_bit_in_an_archives_weights_is_found(archive: Path) -> None:
    # given a bit of the number 3.0 turned
    data = bytearray(archive.read_bytes())
    at = data.index(torch.tensor([3.0]).numpy().tobytes())
    data[at] ^= 1
    archive.write_bytes(data)
    # then
    message = refusal(archive)
    assert "'archive/data/0' in it has a wrong checksum; download it again" in message


def test_a_flipped_bit_in_a_saved_weight_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.full((4096,), 3.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\0\0\x40\x40" * 100) + 200] ^= 1
    path.write_bytes(data)
    assert "is damaged" in refusal(path)


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
    tmp_path: Path, content: object, words: str
) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    message = refusal(path)
    assert words in message
    assert "torch.save(model.state_dict(), path)" in message


def test_a_whole_saved_module_is_refused_for_it_would_run_its_class(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    message = refusal(path)
    assert "it uses torch.nn.modules.linear.Linear, which no state dict needs" in message
    # and nobody is told to trust the file, as torch would
    assert "weights_only" not in message


def test_the_weights_of_another_network_are_read_but_make_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(CheckpointError, match="first keys are bias, weight"):
        build_model(read_weights(path).state)


class Touch:
    """Its pickle creates a file when it is loaded by an unpickler that trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy", "archive", "in an archive's weights"])
def test_no_code_of_a_file_runs(tmp_path: Path, kind: str) -> None:
    # given a file of each kind that would leave a trace
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
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
    assert "TorchScript archive of a dict, not a module" in refusal(
        write_archive(tmp_path / "model.pt", {"a": 1})
    )


@pytest.mark.parametrize("name", ["archive/constants.pkl", "readme.txt"])
def test_a_zip_without_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(name, b"")
    refusal(path)


def test_the_digest_is_sha_256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180, B.1
    assert file_digest(path) == expected
