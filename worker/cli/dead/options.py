"""Options and arguments that the commands of `dead` share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import click

from clip_worker.quoting import quote
from clip_worker.redis.dead_letters import DeadLetters
from clip_worker.redis.url import check_redis_url, connect
from worker.cli.options import environments_signing_keys, text
from worker.cli.output.usage_error import WrongInputError, say
from worker.variables import ENV_PREFIX

result_url_option = click.option(
    "--result-url",
    type=text,
    metavar="URL",
    envvar=f"{ENV_PREFIX}RESULT_URL",
    help="Redis that results are stored in, if it is another one.",
)
ids_argument = click.argument("ids", type=text, nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "everything", is_flag=True, help="All dead letters.")


@contextlib.contextmanager
def dead_letters(
    redis_url: str, queue: str, result_url: str | None = None
) -> Iterator[DeadLetters]:
    """Connect to the dead letters of a queue."""
    with contextlib.ExitStack() as connections:
        redis = connections.enter_context(connect(check_redis_url(redis_url)))
        results = None
        if result_url and result_url != redis_url:
            results = connections.enter_context(connect(check_redis_url(result_url)))
        yield DeadLetters(redis, redis_url, queue, results, environments_signing_keys())


def check_choice(ids: tuple[str, ...], *, everything: bool) -> None:
    """Check that either ids or `--all` were given.

    Raises:
        WrongInputError: Both were given, or neither.
    """
    if bool(ids) == everything:
        raise WrongInputError("Give the ids of dead letters, or --all, but not both.")


def report_missing(missing: Iterable[str]) -> int:
    """Report ids that are not dead letters, and return the exit status."""
    status = 0
    for task_id in missing:
        say(f"There is no dead letter {quote(task_id)}; `clip-worker dead list` lists them.")
        status = 1
    return status


def counted(count: int) -> str:
    """A number of messages.

    >>> counted(1), counted(2)
    ('1 message', '2 messages')
    """
    return "1 message" if count == 1 else f"{count} messages"
