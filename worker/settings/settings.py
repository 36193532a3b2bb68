"""All settings of a worker, and what is said of wrong ones."""

from __future__ import annotations

import os
from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from clip_worker.errors import ServiceError
from clip_worker.quoting import quote, without_password
from worker.settings.batches import BatchSettings
from worker.settings.embeddings import EmbeddingSettings
from worker.settings.fetching import FetchSettings
from worker.settings.health import HealthSettings
from worker.settings.images import ImageSettings
from worker.settings.labels import LabelSettings
from worker.settings.limits import LimitSettings
from worker.settings.messages import MessageSettings
from worker.settings.model import ModelSettings
from worker.settings.redis import RedisSettings
from worker.settings.webhooks import SECRETS, WebhookSettings
from worker.variables import ENV_PREFIX, unknown_variables


class SettingsError(ServiceError, code="BAD_SETTINGS"):
    """Settings are wrong; the message has one line for each."""


class Settings(
    HealthSettings,
    WebhookSettings,
    MessageSettings,
    FetchSettings,
    EmbeddingSettings,
    ImageSettings,
    BatchSettings,
    LabelSettings,
    ModelSettings,
    LimitSettings,
    RedisSettings,
):
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


def _line(fault: Any) -> str:
    place = str(fault["loc"][0])  # a field's name, or the variable itself where it has several
    name = place if place.isupper() else ENV_PREFIX + place.upper()
    message = fault["msg"].removeprefix("Value error, ")
    if place in SECRETS:
        return f"{name} is not valid: {message}."
    value = fault["input"]
    shown = quote(without_password(value) if isinstance(value, str) else value)
    return f"{name} is {shown}: {message[0].lower()}{message[1:]}."
