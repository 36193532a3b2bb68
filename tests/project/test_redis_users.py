"""The rights in `deploy/redis/users.acl` cover what the scripts call; no server is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.redis_acl import CLIENT, OPERATOR, USERS, WORKER

from clip_worker.client.push_script import PUSH_SCRIPT
from clip_worker.redis import (
    dead_letters,
    misrouted,
    queue_status,
    result_backend,
    tenants,
    uploads,
    worker_reports,
)

ROOT = Path(__file__).parents[2]
WORKERS_SCRIPTS = sorted(ROOT.glob("worker/**/*.lua"))
CALL = re.compile(r"redis\.call\('(\w+)'")
SCRIPTS = {
    **{str(path.relative_to(ROOT)): (WORKER, path.read_text()) for path in WORKERS_SCRIPTS},
    "clip_worker/redis/worker_reports.py": (WORKER, worker_reports._PUT),
    "clip_worker/redis/result_backend.py": (WORKER, result_backend._STORE),
    "clip_worker/client/push_script.py": (CLIENT, PUSH_SCRIPT),
    "clip_worker/redis/tenants.py": (WORKER, tenants.PUT),
    "clip_worker/redis/uploads.py": (CLIENT, uploads._DISCARD),
    "clip_worker/redis/dead_letters.py": (
        OPERATOR,
        dead_letters._REPLAY + dead_letters._REPLAY_POST,
    ),
    "clip_worker/redis/misrouted.py": (OPERATOR, misrouted._LOOK),
    "clip_worker/redis/queue_status.py": (OPERATOR, queue_status._COUNT),
    "queue_status.py, for metrics": (WORKER, queue_status._COUNT),
}
# Commands of the category @read, as an operator has them, that our scripts call.
READS = {"exists", "get", "hget", "hlen", "lindex", "llen", "zcard", "zrange"}
READS |= {"zrevrange", "zscore"}


def rights(user: str) -> set[str]:
    """The commands that a user may run, with whatever keys."""
    [line] = [line for line in USERS.read_text().splitlines() if line.startswith(f"user {user} ")]
    allowed = set(re.findall(r"\+([\w|@-]+)", line))
    return allowed | (READS if "@read" in allowed else set())


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_user_may_run_each_command_of_its_scripts(script):
    user, source = SCRIPTS[script]
    missing = {command.lower() for command in CALL.findall(source)} - rights(user)
    assert not missing, (
        f"{script} calls {', '.join(sorted(missing))}, which {user} may not run; allow that in "
        "deploy/redis/users.acl and say why in docs/security.md"
    )


def test_nobody_can_log_in_as_the_default_user_or_without_a_password():
    default, *users = USERS.read_text().splitlines()
    assert default == "user default off"
    assert [line.split()[:3] for line in users] == [
        ["user", name, "on"] for name in (WORKER, CLIENT, OPERATOR)
    ]
    assert not any("nopass" in line or "~*" in line.split() or "&*" in line for line in users)
