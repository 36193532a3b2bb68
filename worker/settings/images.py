"""Settings of images: what is decoded, and within which limits."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field
from pydantic_settings import BaseSettings, NoDecode

from clip_worker.contract.uri import MAX_IMAGE_BYTES
from worker.settings.commas import COMMAS
from worker.variables import ImageFormat


class ImageSettings(BaseSettings):
    """Images."""

    preparation_processes: int | None = Field(
        None,
        ge=1,
        le=256,
        description="processes that fetch and decode",
        json_schema_extra={"unset": "one per core, shared by the workers"},
    )
    image_formats: Annotated[tuple[ImageFormat, ...], NoDecode, COMMAS] = Field(
        get_args(ImageFormat), min_length=1, description="accepted formats; all that there are"
    )
    max_bytes: int = Field(MAX_IMAGE_BYTES, ge=1, description="largest file, in bytes")
    max_pixels: int = Field(
        89_478_485, ge=1, le=178_956_970, description="largest image, in pixels"
    )
    decode_cpu_s: float = Field(
        10.0, gt=0, description="most processor time that one decode may take"
    )
    image_memory_bytes: int | None = Field(
        None,
        ge=1,
        description="memory for files and decoding of one worker",
        json_schema_extra={
            "unset": "half of what is left, shared by the workers; 4 GiB a worker at most"
        },
    )
