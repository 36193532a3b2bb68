"""Tables of the settings."""

from __future__ import annotations

from importlib import import_module

import click
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from worker.cli.start import command as start
from worker.variables import ENV_PREFIX, START_OPTIONS

HEAD = "| variable | default | |\n|---|---|---|\n"


def table(group: str) -> str:
    """Return the table of a group of settings, a module of `worker.settings`."""
    module = import_module(f"worker.settings.{group}")
    (settings,) = (
        each
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
        if issubclass(each, BaseSettings)
    )
    fields: dict[str, FieldInfo] = settings.model_fields
    return HEAD + "".join(
        _row(name, _default(field), field.description or "") for name, field in fields.items()
    )


def start_options() -> str:
    """Return the table of the variables that only `clip-worker start` reads."""
    wanted = {ENV_PREFIX + name.upper() for name in START_OPTIONS}
    options = [each for each in start.params if isinstance(each, click.Option)]
    return HEAD + "".join(
        _row(option.envvar.removeprefix(ENV_PREFIX), _shown(option.default), _help(option))
        for option in options
        if isinstance(option.envvar, str) and option.envvar in wanted
    )


def _help(option: click.Option) -> str:
    text = (option.help or "").rstrip(".")
    return text[0].lower() + text[1:]


def _row(name: str, default: str, meaning: str) -> str:
    return f"| `{ENV_PREFIX}{name.upper()}` | {default} | {meaning} |\n"


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if field.default is None:
        return str(extra["unset"]) if isinstance(extra, dict) else "unset"
    return _shown(field.default)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`" if value else "none"
    return f"{value:,g}" if isinstance(value, float) else _text(value)


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"`{value}`"
