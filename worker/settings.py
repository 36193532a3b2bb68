"""Settings of a worker: environment variables `CLIP_WORKER_*`, checked together at the start."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.contract.text import decoded
from clip_worker.contract.uri import MAX_IMAGE_BYTES
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.quoting import quote, without_password
from clip_worker.redis.url import DEFAULT_REDIS_URL, redis_url_remedy
from worker.mirror_url import EXAMPLE, check_mirror_url
from worker.variables import (
    DEVICE_PATTERN,
    ENV_PREFIX,
    OBJECT_STORE_SCHEMES,
    AccelerationName,
    ImageFormat,
    unknown_variables,
)
from worker.webhooks.settings import SECRETS, WebhookSettings

IMAGES_DRAIN_S = 8.0  # below the 10 s that `docker stop` gives
PROVISIONAL_BATCH = 32  # until the model is loaded


class SettingsError(ServiceError, code="BAD_SETTINGS"):
    """Settings are wrong; the message has one line for each."""


class Settings(WebhookSettings):
    """Everything an operator can set. Field `x_y` is the environment variable `CLIP_WORKER_X_Y`.

    Times are seconds, sizes are bytes, lists are written `a,b,c` (paths with the system's path
    separator, `:` on Linux).
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # a secret's or a URL's password
    )

    redis_url: str = Field(
        DEFAULT_REDIS_URL,
        validation_alias=AliasChoices(ENV_PREFIX + "REDIS_URL", "CELERY_BROKER_URL"),
        description="Broker, and results unless set apart; else Celery's own variable counts.",
    )
    result_url: str | None = Field(None, description="Redis for results; the broker's if unset.")
    queue: str = Field(DEFAULT_QUEUE, min_length=1, description="Queue that tasks are taken from.")
    result_ttl_s: float = Field(86_400.0, gt=0, description="How long a result is kept.")
    queue_path: Literal["auto", "batch", "stock"] = Field(
        "auto", description="How tasks are taken: ours where Redis can, ours or none, kombu's."
    )
    lease_s: float = Field(
        10.0, ge=1, le=3600, description="After which a killed worker's tasks run again."
    )
    max_deliveries: int = Field(
        4, ge=1, le=100, description="Workers that one task may kill before it is given up."
    )
    drain_timeout_s: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Longest that a stopping worker finishes what it has begun; if unset, images "
        "8 s, and other tasks of the application as long as they take.",
    )
    hang_timeout_s: float = Field(
        120.0, gt=0, description="A forward pass that takes longer ends the process."
    )
    visibility_timeout_s: float = Field(
        600.0, gt=0, description="As lease_s, on kombu's transport; more than task_timeout_s."
    )
    remote_control: bool = Field(
        default=True, description="Whether `celery inspect` and revoke work."
    )

    metrics_port: int | None = Field(
        None, ge=1, le=65_535, description="TCP port of metrics and probes; none if unset."
    )
    metrics_address: str = Field(
        "0.0.0.0",  # noqa: S104  # probes and scrapes come from other machines
        min_length=1,
        description="Address that the port is opened on.",
    )

    model: str = Field(
        "ViT-B/32",
        description="OpenAI's name, `demo`, open_clip's tag, a repository of the Hugging Face hub, "
        "or a path (docs/models.md).",
    )
    cache_dir: Path | None = Field(
        None, description="Where OpenAI's weights are kept; or ~/.cache/clip."
    )
    mirror: str | None = Field(
        None, description="Base URL of a copy of OpenAI's weights, as `<mirror>/<sha256>/<file>`."
    )
    offline: bool = Field(default=False, description="Whether to fetch no weights.")
    activation: Literal["gelu", "quick_gelu"] | None = Field(
        None, description="Of the MLPs; needed where the weights don't specify it."
    )
    device: str = Field("auto", description="Where to run.")
    workers: int | None = Field(
        None, ge=1, le=256, description="Workers that share this machine; or one a visible GPU."
    )
    precision: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto",
        description="Of the image tower; auto is float16 on CUDA, float32 elsewhere; int8 on CPUs.",
    )
    preprocessing: Literal["fast", "exact"] = Field("fast", description="Accuracy of resizing.")
    disable: Annotated[tuple[AccelerationName, ...], NoDecode] = Field(
        (), description="Accelerations to disable, by name (docs/performance.md)."
    )

    compile: bool = Field(
        default=False, description="Whether torch compiles a ResNet on a GPU at the start."
    )
    max_batch: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Most images a forward pass; or 2 to 8 on a CPU, and as measured on a GPU.",
    )
    max_wait_s: float = Field(0.0, ge=0, le=60, description="Wait for a batch to fill.")
    replicas: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Forward passes at the same time; or one a core on a CPU, 2 on a GPU.",
    )
    concurrency: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Most images in flight at a time; or 1024, or 8 batches if that is more.",
    )
    fetch_threads: int = Field(32, ge=1, le=1024, description="Fetches at the same time.")
    task_timeout_s: float = Field(
        300.0, gt=0, description="Longest that one task may make no progress; then it is ended."
    )

    gc_threshold: int = Field(
        20_000,
        ge=0,
        le=1_000_000,
        description="New objects between two looks for garbage; 0 for Python's own setting.",
    )

    file_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders that file: URIs may lie below."
    )
    allow_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="Networks that http may reach although they are not public."
    )
    allow_private: bool = Field(
        default=False, description="Whether http may reach private addresses."
    )
    object_store_schemes: Annotated[tuple[str, ...], NoDecode] = Field(
        OBJECT_STORE_SCHEMES, description="URI schemes handed to fsspec."
    )
    max_bytes: int = Field(MAX_IMAGE_BYTES, ge=1, description="Largest image, in bytes.")
    max_pixels: int = Field(
        89_478_485,
        ge=1,
        le=178_956_970,
        description="Largest image, in pixels; Pillow's own bound.",
    )
    image_formats: Annotated[tuple[ImageFormat, ...], NoDecode] = Field(
        get_args(ImageFormat), min_length=1, description="Image formats that are decoded."
    )
    preparation_processes: int | None = Field(
        None, ge=1, le=256, description="Processes that fetch and decode; or one a core."
    )
    decode_cpu_s: float = Field(10.0, gt=0, description="Most processor time that a decode takes.")
    image_memory_bytes: int | None = Field(
        None,
        ge=1,
        description="Memory for images in flight; or half of what is left, 4 GiB at most.",
    )
    fetch_timeout_s: float = Field(30.0, gt=0, description="Longest attempt at one image.")
    fetch_attempts: int = Field(
        5, ge=1, le=100, description="Attempts at an image whose fetch fails for now."
    )
    retry_total_s: float = Field(
        120.0, ge=0, le=86_400, description="After which no further attempt at an image starts."
    )
    fetches_per_host: int | None = Field(
        None, ge=1, le=1024, description="Fetches from one host at the same time."
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment; arguments that are not None go before it.

        Raises:
            SettingsError: All wrong settings, one a line.
        """
        unknown = unknown_variables(os.environ, cls.model_fields)
        try:
            settings = cls(
                **{name: value for name, value in overrides.items() if value is not None}
            )
        except ValidationError as error:
            lines = dict.fromkeys(_line(fault) for fault in error.errors(include_url=False))
            raise SettingsError("\n".join([*lines, *unknown])) from error
        if unknown:
            raise SettingsError("\n".join(unknown))
        return settings

    @property
    def results_url(self) -> str:
        """Where results go."""
        return self.result_url or self.redis_url

    @property
    def images_drain_s(self) -> float:
        """How long a stopping worker goes on with the images in flight."""
        return IMAGES_DRAIN_S if self.drain_timeout_s is None else self.drain_timeout_s

    @property
    def largest_batch(self) -> int:
        """Most images a forward pass, or a guess until the model is loaded."""
        return self.max_batch or PROVISIONAL_BATCH

    @field_validator("redis_url", "result_url", "queue", mode="before")
    @classmethod
    def _decode(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = decoded(value)
        if text is None:
            raise ValueError("give text in UTF-8")
        return text

    @field_validator("redis_url", "result_url")
    @classmethod
    def _check_redis_url(cls, url: str | None) -> str | None:
        if url is not None and (remedy := redis_url_remedy(url)):
            raise ValueError(remedy)
        return url

    @field_validator("mirror")
    @classmethod
    def _check_mirror(cls, url: str | None) -> str | None:
        try:
            return check_mirror_url(url) if url else None
        except InvalidRequestError as error:
            raise ValueError(
                f"give an http or https URL without ? and #, such as {EXAMPLE}"
            ) from error

    @field_validator("cache_dir", "activation", mode="before")
    @classmethod
    def _unset_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not re.fullmatch(DEVICE_PATTERN, device):
            raise ValueError("give auto, cpu, cuda, cuda:N, cuda:GPU-<uuid> or cuda:MIG-<uuid>")
        return device

    @field_validator("workers", mode="before")
    @classmethod
    def _unset_if_auto(cls, value: object) -> object:
        return None if value in ("", "auto") else value

    @field_validator("file_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return (
            [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value
        )

    @field_validator(
        "allow_networks", "object_store_schemes", "disable", "image_formats", mode="before"
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value


def _line(fault: Any) -> str:
    place = str(fault["loc"][0])  # a field's name, or the variable itself where it has several
    name = place if place.isupper() else ENV_PREFIX + place.upper()
    message = fault["msg"].removeprefix("Value error, ")
    if place in SECRETS:
        return f"{name} is not valid: {message}."
    value = fault["input"]
    shown = quote(without_password(value) if isinstance(value, str) else value)
    return f"{name} is {shown}: {message[0].lower()}{message[1:]}."
