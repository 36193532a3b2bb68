"""CLIP as a small library: model, tokenizer, loader, preprocessing, top-K.

    from clip_engine import load_engine

    engine = load_engine("ViT-B/32")
    engine.classify(["cat.jpg"], ["cat", "dog"], k=1)

The names below are imported on first use (PEP 562), so a program that needs `clip_engine.errors`
alone doesn't load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from clip_engine.errors import ClipEngineError
    from clip_engine.loader import load_engine
    from clip_engine.scoring.prediction import Prediction
    from clip_engine.tokenizer import Tokenizer
    from clip_engine.topk import TopK, top_k

__all__ = [
    "ClipEngineError",
    "Engine",
    "Prediction",
    "Tokenizer",
    "TopK",
    "load_engine",
    "top_k",
]

_HOME = {
    "ClipEngineError": "errors",
    "Engine": "engine",
    "Prediction": "scoring.prediction",
    "TopK": "topk",
    "Tokenizer": "tokenizer",
    "load_engine": "loader",
    "top_k": "topk",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
