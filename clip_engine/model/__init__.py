"""CLIP's two towers, and building a model from a checkpoint's weights."""

from clip_engine.model.build import build_model
from clip_engine.model.clip import CLIP
from clip_engine.model.config import Activation, CLIPConfig, Traits, infer_config

__all__ = ["CLIP", "Activation", "CLIPConfig", "Traits", "build_model", "infer_config"]
