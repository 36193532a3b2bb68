"""Each acceleration against the plain path, and their names."""

from __future__ import annotations

import dataclasses
import platform
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_engine, tiny_state, tokenizer
from support.watched_calls import watched_sizes
from torch import nn
from torch.nn import functional

from clip_engine.acceleration import AROUND_THE_MODEL, PLAIN, Acceleration, accelerate, prepacked
from clip_engine.acceleration.linear_patches import LinearPatches
from clip_engine.acceleration.prepacked import PackedLinear, packing_works
from clip_engine.errors import InputError
from clip_engine.model import CLIPConfig, build_model
from clip_engine.model.layers import Conv2d
from clip_engine.model.transformer import Attention, QuickGELU

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine

LABELS = ["cat", "dog", "a very old tree", "grass", "sea"]
# Of features of length 1. bfloat16 has 8 bits, and accelerations round at other points.
TOLERANCES = {"float32": 1e-6, "bfloat16": 5e-3}
CONFIGS = {
    "ViT": TINY_VIT,
    "ViT with GELU": dataclasses.replace(TINY_VIT, activation="gelu"),
    "ResNet": TINY_RESNET,
}
packs = pytest.mark.skipif(  # not by our own probe, or a mistake in packing would skip its tests
    not torch.backends.mkldnn.is_available() or platform.machine() not in {"x86_64", "AMD64"},
    reason="weights are packed by oneDNN, and that it can is only known of x86-64",
)


def only(name: str) -> Acceleration:
    return dataclasses.replace(PLAIN, **{name: True})


def features(engine: Engine) -> tuple[Tensor, Tensor]:
    return engine.encode_pixels(pixels_of(engine, 5)), engine.labels.get(LABELS, ("a {}.",))


# --- against the plain path ---


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("option", [*Acceleration.names(), "all"])
def test_an_acceleration_changes_features_by_no_more_than_rounding(
    option: str, name: str, precision: Any
) -> None:
    # given the plain path, and it with one acceleration or with all
    options = Acceleration() if option == "all" else only(option)
    plain = features(tiny_engine(CONFIGS[name], precision=precision, acceleration=PLAIN))
    # when
    images, texts = features(tiny_engine(CONFIGS[name], precision=precision, acceleration=options))
    # then
    assert (images - plain[0]).abs().max() <= TOLERANCES[precision]
    assert (texts - plain[1]).abs().max() <= TOLERANCES["float32"]
    # and images and labels differ by more than that, or else nothing would be shown
    assert (plain[0][0] - plain[0][1]).abs().max() > 5 * TOLERANCES[precision]
    assert (plain[1][0] - plain[1][1]).abs().max() > 5 * TOLERANCES["float32"]


@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_that_of_its_formula(causal: bool) -> None:  # noqa: FBT001  # a case
    # given
    torch.manual_seed(0)
    attention = Attention(64, 4, causal=causal)
    stacked = torch.randn(2, 7, 3 * 64)  # [B, N, 3D]
    # when: softmax(q kT / sqrt(d)) v (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1)
    query, key, value = stacked.view(2, 7, 3, 4, 16).permute(2, 0, 3, 1, 4)  # [B, H, N, d]
    scores = query @ key.transpose(-2, -1) * 16**-0.5  # [B, H, N, N]
    if causal:
        scores = scores.masked_fill(torch.ones(7, 7, dtype=torch.bool).triu(1), -torch.inf)
    x = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(2, 7, 64)
    # then
    assert torch.allclose(attention.mix(stacked), x, atol=1e-6)


@pytest.mark.parametrize(("resolution", "patch"), [(32, 8), (30, 8), (56, 14), (8, 8)])
def test_linear_patches_are_the_convolution_even_where_a_rest_is_left(
    resolution: int, patch: int
) -> None:
    torch.manual_seed(0)
    conv = Conv2d(3, 24, kernel_size=patch, stride=patch, bias=False).requires_grad_(
        requires_grad=False
    )
    pixels = torch.randn(2, 3, resolution, resolution)
    assert torch.allclose(LinearPatches(conv)(pixels), conv(pixels), atol=1e-6)


@packs
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 96), (3, 7, 96), (2, 1, 1, 96)])
def test_a_packed_linear_is_the_plain_one_for_inputs_of_any_shape(
    shape: tuple[int, ...],
    with_bias: bool,  # noqa: FBT001  # a case
) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(80, 96) / 10, torch.randn(80)
    packed = PackedLinear(weight, bias if with_bias else None)
    plain = functional.linear(x, weight, bias if with_bias else None)
    assert torch.allclose(packed(x), plain, atol=1e-5)


# --- which option does what ---


def kinds(model: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in model.modules()}


def accelerated(options: Acceleration, config: CLIPConfig = TINY_VIT) -> nn.Module:
    model = build_model(tiny_state(config))
    accelerate(model, options, "float32")
    return model


def test_the_plain_model_keeps_the_checkpoints_names_and_weights() -> None:
    for options in (PLAIN, AROUND_THE_MODEL):
        state = accelerated(options).state_dict()
        assert state.keys() == tiny_state().keys()
        assert all(torch.equal(state[name], value) for name, value in tiny_state().items())


def test_each_option_that_changes_the_model_does_so() -> None:
    assert LinearPatches in kinds(accelerated(only("linear_patches")))
    assert QuickGELU in kinds(accelerated(PLAIN))
    assert QuickGELU not in kinds(accelerated(only("folded_gelu")))
    assert nn.BatchNorm2d in kinds(accelerated(PLAIN, TINY_RESNET))
    assert nn.BatchNorm2d not in kinds(accelerated(only("folded_batch_norm"), TINY_RESNET))
    assert {LinearPatches, QuickGELU} & kinds(accelerated(Acceleration())) == {LinearPatches}


@packs
@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET], ids=["ViT", "ResNet"])
def test_packing_leaves_no_plain_product_behind(config: CLIPConfig) -> None:
    model = accelerated(Acceleration(), config)
    assert PackedLinear in kinds(model)
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    assert not [name for name, _ in model.named_parameters() if "in_proj" in name]


@pytest.mark.parametrize("error", [AttributeError("no such operator"), RuntimeError("no AVX")])
def test_where_torch_cant_pack_the_plain_layers_stay(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(prepacked.PackedLinear, "__init__", refuse)
    state = accelerated(only("prepacked")).state_dict()
    assert state.keys() == tiny_state().keys()


def test_operators_that_compute_something_else_are_not_relied_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a torch whose private operator has come to mean something else
    def wrong(_: object, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], 32)

    monkeypatch.setattr(prepacked.PackedLinear, "forward", wrong)
    assert not packing_works(torch.float32)


def test_texts_are_trimmed_unless_that_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, length in ((PLAIN, 77), (only("trimmed_text"), 5)):
        engine = tiny_engine(acceleration=options)
        rows = computed_rows(monkeypatch, engine)
        tokens = tokenizer().tokenize(["a very old"])
        assert int(tokens.argmax()) == 4  # start, three words, end
        engine.labels.get(["very old"], ("a {}",))
        assert set(rows) == {length}


def test_beginnings_are_shared_unless_that_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    # "a cat" and "a dog" are start, a, cat, end and start, a, dog, end
    for options, count in ((Acceleration.without(["shared_prefixes"]), 8), (Acceleration(), 6)):
        engine = tiny_engine(acceleration=options)
        rows = computed_rows(monkeypatch, engine)
        engine.labels.get(["cat", "dog"], ("a {}",))
        assert set(rows) == {count}


def computed_rows(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> list[int]:
    """How many rows the MLP of the text tower's first block is given, as that happens."""
    rows: list[int] = []
    block = engine.model.clip.transformer.resblocks[0]
    compute = block.mlp.forward

    def watched(x: Tensor) -> Any:
        rows.append(x.numel() // x.shape[-1])
        return compute(x)

    monkeypatch.setattr(block.mlp, "forward", watched)
    return rows


def test_labels_are_encoded_again_each_time_if_caching_is_disabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for options, calls in ((Acceleration.without(["cached_text"]), 2), (Acceleration(), 1)):
        engine = tiny_engine(acceleration=options)
        seen = watched_sizes(monkeypatch, engine.texts, "encode_tokens")
        first, second = (engine.labels.get(LABELS, ("{}",)) for _ in range(2))
        assert seen == [len(LABELS)] * calls
        assert torch.equal(first, second)


# --- names ---


def test_options_are_disabled_by_name() -> None:
    options = Acceleration.without(["prepacked", "cuda_graphs"])
    assert (options.prepacked, options.cuda_graphs) == (False, False)
    assert dataclasses.replace(options, prepacked=True, cuda_graphs=True) == Acceleration()


def test_an_unknown_name_is_quoted_with_all_known_ones() -> None:
    known = ", ".join(Acceleration.names())
    with pytest.raises(InputError, match=f"^Unknown acceleration 'turbo'; give one of {known}"):
        Acceleration.without(["prepacked", "turbo"])
