"""Settings of batches and load."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

PROVISIONAL_BATCH = 32  # until the model is loaded


class BatchSettings(BaseSettings):
    """Batches and load."""

    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="`auto` or a number: workers of this machine. `clip-worker start` runs them "
        "all ([several workers](reliability.md#several-workers)); by default each takes its share "
        "of cores and memory. `celery -A worker worker` is always one worker, which takes such a "
        "share if a number is set",
        json_schema_extra={"unset": "one per visible GPU, else 1"},
    )
    compile: bool = Field(
        default=False,
        description="on a GPU, whether torch compiles the image tower of a ResNet at the start "
        "([performance](performance.md#engine)); not measured yet",
    )
    max_batch: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="most images per forward pass; on a CPU the default depends on the model's "
        "size ([batching](batching.md#how-large-a-batch-is))",
        json_schema_extra={"unset": "2 to 8 on a CPU; measured on a GPU, 512 at most"},
    )
    max_wait_s: float = Field(
        0.0, ge=0, le=60, description="how long an incomplete batch waits for more images"
    )
    single_flight: bool = Field(
        default=True,
        description="whether tasks for the same image at the same time share its fetch, decode and "
        "forward pass; measurements that use a few images again and again turn it off",
    )
    replicas: int | None = Field(
        None,
        ge=1,
        le=256,
        description="batches at the same time; on a GPU one is uploaded while another computes",
        json_schema_extra={"unset": "one per core, shared by the workers; 2 on a GPU"},
    )
    concurrency: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="most images that the worker holds",
        json_schema_extra={"unset": "1,024, or 8 batches if that is more"},
    )
    gc_threshold: int = Field(
        20_000,
        ge=0,
        le=1_000_000,
        description="new objects between two runs of Python's garbage collector; 0 for Python's "
        "own setting",
    )

    @property
    def largest_batch(self) -> int:
        """Most images a forward pass, or a guess until the model is loaded."""
        return self.max_batch or PROVISIONAL_BATCH

    @field_validator("workers", mode="before")
    @classmethod
    def _unset_if_auto(cls, value: object) -> object:
        return None if value in ("", "auto") else value
