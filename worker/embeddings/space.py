"""The space of the embeddings that an engine makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.embeddings.store import Space

if TYPE_CHECKING:
    from clip_engine.engine import Engine

# Goes up with each change of `clip_engine.preprocess` or of the image tower that changes what
# becomes of an image by more than rounding.
VERSION = 1


def space_of(engine: Engine) -> Space:
    """The space of an engine's embeddings: its model, its preprocessing and its precision."""
    transform, mode = engine.preprocessor.transform, engine.preprocessor.mode
    pixels = f"{transform.resolution}-{transform.resize}-{transform.interpolation}-{transform.fill}"
    name = f"v{VERSION}-{mode}-{pixels}-{engine.model.precision}"
    return Space(engine.identity.digest, name, engine.model.embed_dim)
