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
        description="Keys of which one has to have signed a message; the first signs what the "
        "worker sends. Without one, messages are taken unsigned.",
    )
    signing_max_age_s: float = Field(
        MAX_AGE_S, gt=0, description="How long after it was signed a message is taken."
    )

    max_message_bytes: int = Field(
        MAX_MESSAGE_BYTES, ge=65_536, description="Largest message; a larger one is a dead letter."
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
