"""The runtimes, each ready to encode pixels."""

from __future__ import annotations

import copy
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.int8_runtimes.onnx_files import OnnxFiles, has
from clip_engine.acceleration import Acceleration
from clip_engine.acceleration.options import accelerate
from clip_engine.errors import DeviceError
from clip_engine.model import CLIP
from clip_engine.model.layers import Linear, StackedProjection
from clip_engine.precision import Precision

Run: TypeAlias = Callable[[Tensor], Tensor]  # pixels [B, 3, R, R] to features [B, D]

BFLOAT16 = ("avx512_bf16", "amx_bf16")
NEEDED = {"ONNX Runtime": ("onnx", "onnxruntime"), "OpenVINO": ("onnx", "onnxruntime", "openvino")}


class UnavailableError(Exception):
    """A runtime can't be measured here; the sentence says why."""


def built(model: CLIP, files: OnnxFiles) -> tuple[dict[str, Run], dict[str, str]]:
    """Every runtime, and by name why another one is left out."""
    builders: dict[str, Callable[[], Run]] = {
        **{
            f"clip-worker, {precision}": functools.partial(_ours, model, precision)
            for precision in ("float32", "bfloat16", "int8")
        },
        "torch, dynamic int8": functools.partial(_torch_dynamic, model.visual),
        "ONNX Runtime, float32": lambda: _onnx_runtime(files.exported),
        "ONNX Runtime, dynamic int8": lambda: _onnx_runtime(files.dynamic),
        "ONNX Runtime, static int8": lambda: _onnx_runtime(files.static),
        "OpenVINO, float32": lambda: _openvino(files.exported),
        "OpenVINO, dynamic int8": lambda: _openvino(files.dynamic),
        "OpenVINO, static int8": lambda: _openvino(files.static),
    }
    found: dict[str, Run] = {}
    missing: dict[str, str] = {}
    for name, build in builders.items():
        try:
            _require_packages(name)
            found[name] = build()
        except UnavailableError as error:
            missing[name] = str(error)
    return found, missing


def _require_packages(name: str) -> None:
    needed = NEEDED.get(name.partition(",")[0], ())
    absent = [each for each in needed if importlib.util.find_spec(each) is None]
    if absent:
        raise UnavailableError(f"{' and '.join(absent)} not installed.")


def _ours(model: CLIP, precision: Precision) -> Run:
    if precision == "bfloat16" and not has(BFLOAT16):
        raise UnavailableError("the processor has no bfloat16 instructions.")
    copied = copy.deepcopy(model)
    try:
        accelerate(copied, Acceleration(), precision)
    except DeviceError as error:
        raise UnavailableError(str(error)) from error
    return copied.visual


def _torch_dynamic(tower: nn.Module) -> Run:
    from torch.ao import quantization

    plain = _plain_linears(copy.deepcopy(tower))
    config = {nn.Linear: quantization.per_channel_dynamic_qconfig}
    quantized: nn.Module = quantization.quantize_dynamic(plain, config)
    return quantized


def _plain_linears(tower: nn.Module) -> nn.Module:
    """The tower with `nn.Linear` in place of our own layers, which torch's tools don't know."""
    for module in list(tower.modules()):
        if isinstance(module, StackedProjection):
            module.packed = _linear(module.in_proj_weight, module.in_proj_bias)
        for name, layer in module.named_children():
            if isinstance(layer, Linear):
                setattr(module, name, _linear(layer.weight, layer.bias))
    return tower


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _onnx_runtime(path: Path) -> Run:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


def _openvino(path: Path) -> Run:
    openvino = importlib.import_module("openvino")
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda pixels: torch.from_numpy(np.array(request.infer({0: pixels.numpy()})[0]))
