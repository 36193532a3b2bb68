"""Image towers in int8: against integer arithmetic in float64, and what doesn't change."""

from __future__ import annotations

import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_engine
from torch import Tensor, nn
from torch.nn import functional

from clip_engine.acceleration import int8
from clip_engine.acceleration.int8 import (
    LEVELS,
    NARROW_LEVELS,
    Int8Conv2d,
    Int8Linear,
    use_int8,
    weight_levels,
)
from clip_engine.errors import ClipEngineError, DeviceError
from clip_engine.model import CLIPConfig

LINEAR_LEVELS = weight_levels()
CONVOLUTION_LEVELS = 2 * LEVELS if LINEAR_LEVELS == LEVELS else LEVELS
SEED = torch.Generator().manual_seed(0)


def quantised(x: Tensor, levels: int, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Whole numbers in float64, and their scales."""
    scale = (x.abs().amax(dim=dims, keepdim=True) / levels).double()
    return (x.double() / scale).round(), scale


@pytest.mark.parametrize("shape", [(3, 50), (1, 1), (7,)])
@pytest.mark.parametrize("layer", [nn.Linear(96, 40), nn.Linear(96, 40, bias=False)])
def test_a_linear_layer_multiplies_whole_numbers_with_a_scale_a_row_and_a_channel(
    shape: tuple[int, ...], layer: nn.Linear
) -> None:
    assert LINEAR_LEVELS
    x = torch.randn(*shape, 96, generator=SEED)
    with torch.inference_mode():
        found = Int8Linear(layer.weight, layer.bias, LINEAR_LEVELS)(x)
    weights, channels = quantised(layer.weight.detach(), LINEAR_LEVELS, (1,))
    rows, scales = quantised(x, LEVELS, (-1,))
    expected = (rows @ weights.T) * scales * channels.T
    if layer.bias is not None:
        expected += layer.bias.detach()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution_multiplies_whole_numbers_with_a_scale_an_image_and_a_channel(
    kernel: int, stride: int
) -> None:
    layer = nn.Conv2d(24, 40, kernel, stride=stride, padding=kernel // 2)
    x = torch.rand(3, 24, 13, 11, generator=SEED) * torch.tensor([1, 5, 0.1]).view(3, 1, 1, 1)
    with torch.inference_mode():
        found = Int8Conv2d(layer, CONVOLUTION_LEVELS)(x)
    weights, channels = quantised(layer.weight.detach(), LEVELS, (1, 2, 3))
    images, scales = quantised(x, CONVOLUTION_LEVELS, (1, 2, 3))
    products = functional.conv2d(images, weights, stride=stride, padding=kernel // 2)
    assert layer.bias is not None
    expected = products * scales * channels.view(-1, 1, 1) + layer.bias.detach().view(-1, 1, 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_largest_numbers_do_not_overflow() -> None:
    # given products of equal sign, of which a processor without VNNI adds pairs in 16 bits
    assert LINEAR_LEVELS in (LEVELS, NARROW_LEVELS)
    linear, convolution = nn.Linear(512, 64, bias=False), nn.Conv2d(512, 64, 1, bias=False)
    for layer in (linear, convolution):
        nn.init.ones_(layer.weight)
    with torch.inference_mode():
        rows = Int8Linear(linear.weight, None, LINEAR_LEVELS)(torch.full((70, 512), 3.0))
        images = Int8Conv2d(convolution, CONVOLUTION_LEVELS)(torch.full((2, 512, 9, 9), 3.0))
    torch.testing.assert_close(rows, torch.full((70, 64), 3.0 * 512))
    torch.testing.assert_close(images, torch.full((2, 64, 9, 9), 3.0 * 512))


def test_zeros_stay_zeros_and_what_is_not_finite_stays_so() -> None:
    layer = Int8Linear(torch.randn(8, 16, generator=SEED), None, NARROW_LEVELS)
    rows = torch.zeros(3, 16)
    rows[1, 5], rows[2, 5] = torch.nan, torch.inf
    zeros, nan, infinite = layer(rows)
    assert zeros.count_nonzero() == 0
    assert nan.isnan().all()
    assert not infinite.isfinite().any()


@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET], ids=["ViT", "ResNet"])
def test_an_image_does_not_depend_on_the_others_of_its_batch(config: CLIPConfig) -> None:
    # given images of very different contrast, whose scales differ
    engine = tiny_engine(config, precision="int8", buckets=(4,))
    first, *others = pixels_of(engine, 4)
    black = [torch.zeros_like(first)] * 3
    # then
    alone = engine.encode_pixels([first])[0]
    assert torch.equal(engine.encode_pixels([first, *others])[0], alone)
    assert torch.equal(engine.encode_pixels([first, *black])[0], alone)


@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET], ids=["ViT", "ResNet"])
def test_all_large_products_are_in_int8_and_features_stay_close(config: CLIPConfig) -> None:
    exact, rough = tiny_engine(config), tiny_engine(config, precision="int8")
    pixels = pixels_of(exact, 3)
    cosines = (rough.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(dim=-1)
    assert cosines.min() > 0.99
    assert rough.model.precision == "int8"
    replaced = [m for m in rough.model.clip.visual.modules() if type(m) in (Int8Linear, Int8Conv2d)]
    layers = config.vision_layers
    if isinstance(layers, int):  # projection, output, MLP in and out
        assert len(replaced) == 4 * layers
    else:  # stem but its first, three a bottleneck, a shortcut a stage
        assert len(replaced) == 2 + 3 * sum(layers) + len(layers)


def test_infinite_activations_end_in_an_error_and_not_in_an_answer() -> None:
    engine = tiny_engine(precision="int8")
    engine.model.clip.visual.ln_post.weight.data.fill_(torch.inf)
    with pytest.raises(ClipEngineError, match="gave NaN in int8"):
        engine.classify([bytes_of_an_image()], ["a", "b"])


def bytes_of_an_image() -> bytes:
    return (b"P6 8 8 255\n") + bytes(range(192))


def test_a_processor_without_int8_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8, "weight_levels", lambda: None)
    with pytest.raises(DeviceError, match="no int8 products for this processor; use float32"):
        tiny_engine(precision="int8")


def test_missing_operators_mean_that_there_is_no_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def __init__(self, *_: object) -> None:
            raise AttributeError("no such operator")

    monkeypatch.setattr(int8, "Int8Linear", Missing)
    assert weight_levels.__wrapped__() is None


def test_overflow_means_seven_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Saturating(nn.Module):
        def __init__(self, weight: Tensor, _bias: None, levels: int) -> None:
            super().__init__()
            self.weight, self.levels = weight, levels

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.weight.T) * (1.0 if self.levels <= NARROW_LEVELS else 0.8)

    monkeypatch.setattr(int8, "Int8Linear", Saturating)
    assert weight_levels.__wrapped__() == NARROW_LEVELS


def test_int8_is_refused_on_other_devices() -> None:
    with pytest.raises(DeviceError, match="int8 is for CPUs; on meta use float16 or bfloat16"):
        use_int8(nn.Sequential(nn.Linear(4, 4, device="meta")))
