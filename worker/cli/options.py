"""Options that several commands share, and text options in any locale."""

from __future__ import annotations

import os

import click

from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.contract.signatures import KEYS_VARIABLE, SigningKey, signing_keys
from clip_worker.contract.tenants import TENANT_REMEDY, is_tenant
from clip_worker.contract.text import decoded
from clip_worker.quoting import quote
from clip_worker.redis.url import DEFAULT_REDIS_URL
from worker.cli.output.usage_error import WrongInputError
from worker.variables import ENV_PREFIX


def text(value: str) -> str:
    """The text of an option or argument, whatever the locale's encoding; for click's `type`.

    Raises:
        BadParameter: It is valid neither in the locale's encoding nor in UTF-8.
    """
    found = decoded(value)
    if found is None:
        raise click.BadParameter(
            f"{quote(value)} is not valid UTF-8; use a terminal and a UTF-8 locale such as "
            "LC_ALL=C.UTF-8."
        )
    return found


def tenant_name(value: str) -> str:
    """The name of a tenant, as clients take it; for click's `type`.

    Raises:
        WrongInputError: It is not one.
    """
    if not is_tenant(value):
        raise WrongInputError(f"{quote(value)} does not name a tenant; give {TENANT_REMEDY}.")
    return value


def environments_signing_keys() -> tuple[SigningKey, ...]:
    """The keys of CLIP_WORKER_SIGNING_KEYS, which no option has: others may see command lines.

    Raises:
        WrongInputError: One is not a key; the message does not show it.
    """
    try:
        return signing_keys(os.environ.get(KEYS_VARIABLE, ""))
    except ValueError as error:
        raise WrongInputError(f"{KEYS_VARIABLE} is not valid: {error}.") from error


redis_url_option = click.option(
    "--redis-url",
    type=text,
    metavar="URL",
    default=DEFAULT_REDIS_URL,
    envvar=f"{ENV_PREFIX}REDIS_URL",
    show_default=True,
    help="Redis that the workers take tasks from.",
)
queue_option = click.option(
    "--queue",
    type=text,
    default=DEFAULT_QUEUE,
    envvar=f"{ENV_PREFIX}QUEUE",
    show_default=True,
    help="Queue that the workers take tasks from.",
)
tenant_option = click.option(
    "--tenant",
    type=tenant_name,
    metavar="NAME",
    help="Customer whose images they are: customers of one queue take turns (docs/fairness.md).",
)
queues_option = click.option(
    "--queue",
    "queues",
    type=text,
    multiple=True,
    default=(DEFAULT_QUEUE,),
    envvar=f"{ENV_PREFIX}QUEUE",
    show_default=True,
    help="Queue to show; may be given several times.",
)
json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line."
)
