"""Settings of the model: which one, and how and where it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from clip_worker.errors import InvalidRequestError
from worker.mirror_url import EXAMPLE, check_mirror_url
from worker.settings.commas import COMMAS
from worker.variables import DEVICE_PATTERN, AccelerationName


class ModelSettings(BaseSettings):
    """Model."""

    model: str = Field(
        "ViT-B/32",
        description="the name of a model ([models](models.md)): `ViT-B/32`, `demo`, "
        "`ViT-B-16-SigLIP2-256/webli`, `openai/clip-vit-base-patch32`; or the path of a file or "
        "folder",
    )
    cache_dir: Path | None = Field(
        None,
        description="where OpenAI's weights are kept; what comes from the Hugging Face hub is in "
        "its own cache (`HF_HOME`)",
        json_schema_extra={"unset": "`~/.cache/clip`"},
    )
    mirror: str | None = Field(
        None,
        description="base URL of a copy of OpenAI's weights, as `<mirror>/<sha256>/<file>`; for "
        "the Hugging Face hub set `HF_ENDPOINT`",
    )
    offline: bool = Field(default=False, description="forbids downloading weights")
    activation: Literal["gelu", "quick_gelu"] | None = Field(
        None,
        description="`quick_gelu` or `gelu`: of the MLPs, needed for bare weights that don't "
        "specify it ([models](models.md#bare-weights))",
        json_schema_extra={"unset": "the model's"},
    )
    device: str = Field(
        "auto",
        description="`cpu`; `cuda:N`; `cuda:GPU-<uuid>` or `cuda:MIG-<uuid>`, which then is the "
        "only device that CUDA sees; or `auto` and `cuda` for the host's next free GPU. `auto` is "
        "the CPU if there is none",
    )
    precision: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto",
        description="of the image tower: `float32`, `float16`, `bfloat16`, on CPUs also `int8` "
        "([what each costs](performance.md#precision-of-the-image-tower)); `auto` is float32 on a "
        "CPU, and on CUDA float16, or bfloat16 if the weights are stored in it or the model "
        "overflows float16",
    )
    preprocessing: Literal["fast", "exact"] = Field(
        "fast", description="`fast` or `exact` resizing"
    )
    disable: Annotated[tuple[AccelerationName, ...], NoDecode, COMMAS] = Field(
        (),
        description="parts of the acceleration to turn off, see "
        "[performance](performance.md#engine)",
    )

    @field_validator("cache_dir", "activation", mode="before")
    @classmethod
    def _unset_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("mirror")
    @classmethod
    def _check_mirror(cls, url: str | None) -> str | None:
        try:
            return check_mirror_url(url) if url else None
        except InvalidRequestError as error:
            raise ValueError(
                f"give an http or https URL without ? and #, such as {EXAMPLE}"
            ) from error

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not re.fullmatch(DEVICE_PATTERN, device):
            raise ValueError("give auto, cpu, cuda, cuda:N, cuda:GPU-<uuid> or cuda:MIG-<uuid>")
        return device
