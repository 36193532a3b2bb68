"""Options and arguments that the commands of `dead` share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import click

from worker.cli.output.usage_error import WrongInputError, say
from worker.cli.text_option import text
from worker.quoting import quote
from worker.redis.dead_letters import DeadLetters
from worker.redis.url import check_redis_url, connect
from worker.settings import DEFAULT_QUEUE, DEFAULT_REDIS_URL, ENV_PREFIX

redis_url_option = click.option(
    "--redis-url",
    type=text,
    metavar="URL",
    default=DEFAULT_REDIS_URL,
    envvar=f"{ENV_PREFIX}REDIS_URL",
    show_default=True,
    help="The workers' Redis.",
)
result_url_option = click.option(
    "--result-url",
    type=text,
    metavar="URL",
    envvar=f"{ENV_PREFIX}RESULT_URL",
    help="Where results are, if not there.",
)
queue_option = click.option(
    "--queue",
    type=text,
    default=DEFAULT_QUEUE,
    envvar=f"{ENV_PREFIX}QUEUE",
    show_default=True,
    help="The workers' queue.",
)
ids_argument = click.argument("ids", type=text, nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "everything", is_flag=True, help="All that are there now.")


@contextlib.contextmanager
def dead_letters(
    redis_url: str, queue: str, result_url: str | None = None
) -> Iterator[DeadLetters]:
    """The dead letters of a queue, while it is entered."""
    with contextlib.ExitStack() as connections:
        redis = connections.enter_context(connect(check_redis_url(redis_url)))
        results = None
        if result_url and result_url != redis_url:
            results = connections.enter_context(connect(check_redis_url(result_url)))
        yield DeadLetters(redis, redis_url, queue, results)


def check_choice(ids: tuple[str, ...], *, everything: bool) -> None:
    """See that there are ids or `--all`, and not both.

    Raises:
        WrongInputError: It is not so.
    """
    if bool(ids) == everything:
        raise WrongInputError("Name dead letters by their ids, or give --all for all of them.")


def tell_missing(missing: Iterable[str]) -> int:
    """Say which ids were none; the exit status."""
    status = 0
    for task_id in missing:
        say(f"There is no dead letter {quote(task_id)}; `clip-worker dead list` lists them.")
        status = 1
    return status


def counted(count: int) -> str:
    """How many messages, with the verb that goes on.

    >>> counted(1), counted(2)
    ('1 message is', '2 messages are')
    """
    return "1 message is" if count == 1 else f"{count} messages are"
