"""The image tower as ONNX files: as it is, and quantized by ONNX Runtime's tools."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.bench import machine

VNNI = ("avx_vnni", "avx512_vnni")


class OnnxFiles:
    """The tower as files that the other runtimes read, each written when it is first asked for."""

    def __init__(self, tower: nn.Module, resolution: int, folder: Path) -> None:
        self._tower = tower
        self._resolution = resolution
        self._folder = folder

    @functools.cached_property
    def exported(self) -> Path:
        """In float32."""
        path = self._folder / "float32.onnx"
        axes = {"pixels": {0: "batch"}, "features": {0: "batch"}}
        torch.onnx.export(
            self._tower,
            (noise(2, self._resolution),),
            path,
            dynamo=False,  # the newer exporter needs another package
            opset_version=17,
            input_names=["pixels"],
            output_names=["features"],
            dynamic_axes=axes,
        )
        return path

    @functools.cached_property
    def dynamic(self) -> Path:
        """int8 weights; activations are quantized while it runs."""
        path = self._folder / "dynamic.onnx"
        quantization().quantize_dynamic(self.exported, path, **_options())
        return path

    @functools.cached_property
    def static(self) -> Path:
        """int8 weights and activations, whose ranges are those of a few batches."""
        path = self._folder / "static.onnx"
        reader = _batches(noise(2, self._resolution, seed) for seed in range(4))
        form = quantization().QuantFormat.QDQ
        quantization().quantize_static(self.exported, path, reader, quant_format=form, **_options())
        return path


def quantization() -> Any:
    """ONNX Runtime's tools; imported by name, as pyproject.toml doesn't have the package."""
    return importlib.import_module("onnxruntime.quantization")


def _options() -> dict[str, Any]:
    """What all files have in common: products with weights are quantized, attention's own not."""
    return {
        "per_channel": True,
        "reduce_range": not has(VNNI),
        "op_types_to_quantize": ["MatMul", "Gemm"],
        "extra_options": {"MatMulConstBOnly": True},
    }


def _batches(pixels: Iterator[Tensor]) -> Any:
    class Reader(quantization().CalibrationDataReader):  # type: ignore[misc]  # its base is Any
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(pixels, None)
            return None if batch is None else {"pixels": batch.numpy()}

    return Reader()


def noise(count: int, resolution: int, seed: int = 0) -> Tensor:
    """Pixels `[B, 3, R, R]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, resolution, resolution, generator=generator)


def has(instructions: tuple[str, ...]) -> bool:
    """Whether the processor has one of these."""
    return not set(instructions).isdisjoint(machine.flags())
