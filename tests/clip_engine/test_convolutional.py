"""Convolutional image towers in another memory order, and compiled; on a CPU."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_engine, tiny_state

from clip_engine.acceleration.convolutional import CompiledTower, compiled, use_channels_last
from clip_engine.model import build_model

if TYPE_CHECKING:
    from torch import Tensor, nn


def resnet() -> nn.Module:
    return build_model(tiny_state(TINY_RESNET)).visual


def test_a_resnet_computes_the_same_with_the_channels_innermost() -> None:
    plain, tower, pixels = resnet(), resnet(), torch.randn(3, 3, 64, 64)
    use_channels_last(tower)
    orders: list[bool] = []
    tower.layer1.register_forward_hook(  # type: ignore[union-attr, operator]
        lambda _tower, _inputs, x: orders.append(x.is_contiguous(memory_format=torch.channels_last))
    )
    with torch.inference_mode():
        assert torch.allclose(tower(pixels), plain(pixels), atol=1e-5)
    assert orders == [True]


def test_a_vit_stays_as_it_is() -> None:
    tower = build_model(tiny_state(TINY_VIT)).visual
    before = [weight.stride() for weight in tower.parameters()]
    use_channels_last(tower)
    assert compiled(tower) is tower
    assert [weight.stride() for weight in tower.parameters()] == before


def test_where_nothing_can_be_compiled_one_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # given a compiler that is missing
    from torch._dynamo import exc

    def fail(_pixels: Tensor) -> Tensor:
        raise exc.TorchDynamoException("Failed to find C compiler.\nPlease specify one.")

    monkeypatch.setattr(torch, "compile", lambda _tower: fail)
    tower, plain = compiled(resnet()), resnet()
    pixels = torch.randn(3, 3, 64, 64)
    # when
    with torch.inference_mode():
        features = [tower(pixels), tower(pixels)]
        # then
        assert all(torch.equal(each, plain(pixels)) for each in features)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == [
        "The image tower can't be compiled and runs as it is (Failed to find C compiler.)."
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_tower_gives_the_same_features_in_every_bucket_and_is_compiled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given an engine whose tower is compiled
    engine = tiny_engine(TINY_RESNET, buckets=(1, 2, 4, 8))
    plain = tiny_engine(TINY_RESNET, buckets=(1, 2, 4, 8))
    compilations: list[int] = []

    def counted(module: Any, inputs: Any) -> Any:
        from torch._inductor.compile_fx import compile_fx as compile_with_inductor

        compilations.append(1)
        return compile_with_inductor(module, inputs)

    plain_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda tower: plain_compile(tower, backend=counted))
    engine.model.clip.visual = CompiledTower(engine.model.clip.visual)
    # when
    for count in (1, 2, 3, 8, 11):
        pixels = pixels_of(engine, count)
        # then
        difference = engine.encode_pixels(pixels) - plain.encode_pixels(pixels)
        assert difference.abs().max() < 1e-5
    assert compilations == [1]
