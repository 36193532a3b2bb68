"""Settings of webhooks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from clip_worker.contract.webhooks import signing_key

SECRETS = ("webhook_secret", "signing_keys")  # settings whose values are never shown


class WebhookSettings(BaseSettings):
    """Webhooks."""

    webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="secret that signs what is posted to [webhooks](webhooks.md): `whsec_` and 24 "
        "to 64 bytes in base64; several, separated by commas, while it is replaced; without one a "
        "request with a webhook fails",
    )
    webhook_timeout_s: float = Field(10.0, gt=0, le=300, description="longest attempt to post")
    webhook_attempts: int = Field(
        12, ge=1, le=100, description="attempts after which a post becomes a dead letter"
    )
    webhook_retry_s: float = Field(
        5.0,
        gt=0,
        le=86_400,
        description="pause after the first attempt; each pause is 2.4 times as long as the last "
        "one",
    )
    webhook_total_s: float = Field(
        86_400.0,
        ge=0,
        le=2_592_000,
        description="no attempt starts later than this after the first",
    )

    @property
    def webhook_keys(self) -> tuple[bytes, ...]:
        """The keys of the secrets."""
        return tuple(signing_key(each.get_secret_value()) for each in self.webhook_secret)

    @field_validator("webhook_secret", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        secrets = [part.strip() for part in value.split(",") if part.strip()]
        for secret in secrets:
            signing_key(secret)
        return secrets
