"""Settings of labels."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class LabelSettings(BaseSettings):
    """Labels."""

    shared_text_features_max_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="memory in Redis for the text features of labels, which the workers with one "
        "model share ([label sets](label-sets.md#one-fleet-encodes-a-label-once)); `0` turns "
        "sharing off",
    )
