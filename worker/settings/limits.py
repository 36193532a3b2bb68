"""Settings of stopping, and of time limits."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

IMAGES_DRAIN_S = 8.0  # below the 10 s that `docker stop` gives


class LimitSettings(BaseSettings):
    """Stopping and time limits."""

    drain_timeout_s: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="how long a stopping worker may finish what has started; unset: 8 s for "
        "images, no limit for other tasks of the application",
    )
    hang_timeout_s: float = Field(
        120.0, gt=0, description="a forward pass that takes longer ends the process"
    )
    task_timeout_s: float = Field(
        300.0, gt=0, description="longest time that a task may make no progress"
    )

    @property
    def images_drain_s(self) -> float:
        """How long a stopping worker goes on with the images in flight."""
        return IMAGES_DRAIN_S if self.drain_timeout_s is None else self.drain_timeout_s
