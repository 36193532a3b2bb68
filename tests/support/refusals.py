"""How a checkpoint that can't be used is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_engine.errors import CheckpointError
from clip_engine.formats import read_checkpoint


def refusal(path: Path) -> str:
    """The one sentence that a checkpoint's refusal is."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path).build()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message
