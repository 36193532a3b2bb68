"""Settings of messages: which are accepted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from clip_worker.contract import MAX_MESSAGE_BYTES
from clip_worker.contract.signatures import MAX_AGE_S, SigningKey


class MessageSettings(BaseSettings):
    """Messages."""

    signing_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="keys that sign messages ([security](security.md#signed-messages)): 64 to 128 "
        "hexadecimal digits; several, separated by commas, while one is replaced: the first signs, "
        "each is accepted; without one, unsigned messages are taken",
    )
    signing_max_age_s: float = Field(
        MAX_AGE_S, gt=0, description="how long after it was signed a message is taken"
    )
    max_message_bytes: int = Field(
        MAX_MESSAGE_BYTES,
        ge=65_536,
        description="largest message; a larger one fails with `MESSAGE_TOO_LARGE`",
    )

    @property
    def parsed_signing_keys(self) -> tuple[SigningKey, ...]:
        """The keys."""
        return tuple(SigningKey.parse(each.get_secret_value()) for each in self.signing_keys)

    @field_validator("signing_keys", mode="before")
    @classmethod
    def _split_signing_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = [part.strip() for part in value.split(",") if part.strip()]
        for key in keys:
            SigningKey.parse(key)
        return keys
