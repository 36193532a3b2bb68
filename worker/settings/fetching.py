"""Settings of fetching: what URIs may reach, and how often and how long it is tried."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from worker.settings.commas import COMMAS
from worker.variables import OBJECT_STORE_SCHEMES


class FetchSettings(BaseSettings):
    """Fetching."""

    file_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="folders that `file:` URIs may lie below, separated by `:`"
    )
    allow_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, COMMAS] = Field(
        (),
        description="networks that http may reach although they are not public, such as "
        "`10.1.0.0/16`",
    )
    allow_private: bool = Field(
        default=False, description="whether http may reach private, shared and loopback addresses"
    )
    object_store_schemes: Annotated[tuple[str, ...], NoDecode, COMMAS] = Field(
        OBJECT_STORE_SCHEMES, description="URI schemes that are given to fsspec"
    )
    fetch_threads: int = Field(32, ge=1, le=1024, description="fetches at the same time")
    fetches_per_host: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="most fetches from one host at the same time, in addition to the fair share",
    )
    fetch_timeout_s: float = Field(30.0, gt=0, description="longest attempt at one image")
    fetch_attempts: int = Field(
        5, ge=1, le=100, description="attempts at an image whose fetch fails temporarily"
    )
    retry_total_s: float = Field(
        120.0, ge=0, le=86_400, description="no attempt starts later than this after the first"
    )

    @field_validator("file_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return (
            [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value
        )
