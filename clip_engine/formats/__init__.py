"""Reads checkpoints of several ecosystems. The format is recognised; nothing is executed.

OpenAI's TorchScript archives and plain state dicts (`openai`), OpenCLIP's folders and training
checkpoints (`open_clip`), Hugging Face's CLIP folders (`hugging_face`). All become weights in
OpenAI's layout and what the weights don't tell.
"""

from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.read import read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
