"""Imports open_clip, which only the models of other families need, when such a model is loaded."""

from __future__ import annotations

from typing import Any

from clip_engine.errors import CheckpointError


def open_clip() -> Any:
    """The module `open_clip`.

    Raises:
        CheckpointError: It isn't installed.
    """
    try:
        import open_clip
        import open_clip.hf_configs
        import open_clip.tokenizer
    except ImportError as error:
        raise CheckpointError(
            f"This model needs open_clip_torch, which can't be imported ({error}); run "
            '`pip install "clip-worker[models]"`.'
        ) from error
    return open_clip
