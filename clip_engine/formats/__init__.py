"""Reads checkpoints in several formats, which are detected. No code from a checkpoint is executed.

Supported are OpenAI's TorchScript archives and plain state dicts (`openai`), OpenCLIP's folders and
training checkpoints (`open_clip`), and Hugging Face's CLIP folders (`hugging_face`). Each is
converted to weights in OpenAI's layout and the traits that the weights don't determine.
"""

from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.read import read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
