"""The check of group `rights`: whether this user's access list (ACL) allows what is needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import NoPermissionError, ResponseError

from clip_worker.contract.keys import PRIORITY_SEPARATOR
from clip_worker.quoting import quote
from worker.cli.doctor.check import Check
from worker.cli.doctor.finding import Finding, ok, problem
from worker.cli.doctor.needed_rights import Right, client_rights, worker_rights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from worker.cli.doctor.subject import Subject

MOST_NAMED = 2  # keys of a command
# Asks the access list without running anything, since Redis 7.0. ARGV: commands as JSON.
# -> the positions, from 1, of those that this user may not run
_ASK = """
local missing = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do
  local known, may = pcall(redis.acl_check_cmd, unpack(command))
  if not (known and may) then missing[#missing + 1] = i end
end
return missing
"""


def rights_checks(subject: Subject) -> list[Check]:
    """The check of the rights of a worker, or of a client where only that is installed."""
    return [Check("rights", "commands", subject.redis.examined(lambda: _look(subject)))]


def _look(subject: Subject) -> Finding:
    rights, who = _needed(subject)
    return examine_rights(subject.redis.client, rights, f"that {who} sends")


def examine_rights(redis: Redis, rights: Sequence[Right], which: str) -> Finding:
    """Whether this user may run all commands; none of them is run.

    Args:
        redis: Connects as the user.
        rights: The commands.
        which: What tells these commands from others, in words.

    Raises:
        RedisError: Redis can't be asked.
    """
    user = redis.connection_pool.connection_kwargs.get("username") or "default"
    named = _named(missing_rights(redis, rights))
    if not named:
        return ok(f"The user {quote(user)} may run the {len(rights)} commands {which}.")
    return problem(
        f"The user {quote(user)} may not run commands {which}: {'; '.join(named)}.",
        "Add these commands, keys and channels to the user's access list (ACL SETUSER); "
        "deploy/redis/users.acl has one.",
    )


def missing_rights(redis: Redis, rights: Sequence[Right]) -> list[Right]:
    """Those of all commands that this user may not run; none of them is run.

    Raises:
        RedisError: Redis can't be asked.
    """
    try:
        asked = cast("Any", redis.register_script(_ASK)(args=[json.dumps(rights)]))
    except NoPermissionError:
        return _missing_in_transaction(redis, rights)
    except ResponseError:  # older than 7.0
        return _missing_in_transaction(redis, rights)
    if len(asked) == len(rights):  # before 7.0 there is no such function
        return _missing_in_transaction(redis, rights)
    return [rights[position - 1] for position in asked]


def _missing_in_transaction(redis: Redis, rights: Sequence[Right]) -> list[Right]:
    """Queue the commands in a transaction that is never executed: each is checked when it comes."""
    pool: Any = redis.connection_pool  # Any: redis-py's types are incomplete
    connection = pool.get_connection()
    missing = []
    try:
        for right in (("MULTI",), *(right for right in rights if right not in _ENDS)):
            connection.send_command(*right)
            try:
                connection.read_response()
            except NoPermissionError:
                missing.append(right)
    finally:
        connection.disconnect()  # which discards the transaction
        pool.release(connection)
    return missing


_ENDS = (("MULTI",), ("EXEC",))


def _needed(subject: Subject) -> tuple[list[Right], str]:
    if subject.missing or isinstance(subject.settings, str):
        return client_rights(subject.queue), "a client"
    options = subject.redis.client.connection_pool.connection_kwargs
    rights = worker_rights(
        subject.queue,
        remote_control=subject.settings.remote_control,
        db=int(options.get("db") or 0),
    )
    return rights, "a worker"


def _named(missing: Sequence[Right]) -> list[str]:
    """Each command once, with some of its keys or channels."""
    places: dict[str, list[str]] = {}
    for right in missing:
        places.setdefault(right[0], []).append(_place(right))
    return [_on(command, [*filter(None, some)]) for command, some in places.items()]


def _on(command: str, places: list[str]) -> str:
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return f"{command} on {', '.join(places[:MOST_NAMED])}{more}" if places else command


def _place(right: Right) -> str:
    """A command's key or channel, or its subcommand."""
    if len(right) < 2 or right[0] == "EVALSHA":
        return ""
    return right[1].replace(PRIORITY_SEPARATOR, "\\x06\\x16").replace("DOCTOR", "*")
