"""Checks which server it is: its version with known holes, and its role."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from clip_worker.redis.tls import SCHEME as TLS_SCHEME
from worker.cli.doctor.finding import Finding, ok, problem, warning
from worker.cli.doctor.redis_holes import Hole, Version, holes_of

if TYPE_CHECKING:
    from worker.cli.doctor.examined_redis import ExaminedRedis

OLDEST = (6, 2)


def check_version(redis: ExaminedRedis) -> Finding:
    """Whether the server is new enough, and free of published holes."""
    name, version, number = server_of(redis.info)
    if not version:
        return warning(
            f"{name} does not tell its version.", "Make sure that it can do what Redis 6.2 can."
        )
    if version < OLDEST:
        return problem(
            f"{name} {number} is older than 6.2: kombu's transport would serve the queue, which "
            "can lose messages.",
            "Upgrade to a release that still gets security fixes, such as 7.2, 7.4 or 8.",
        )
    uses_tls = redis.url.startswith(TLS_SCHEME)
    if holes := holes_of(version, is_valkey=name == "Valkey", uses_tls=uses_tls):
        return _with_holes(f"{name} {number}", holes)
    return ok(f"{name} {number} has no hole that this release knows of.")


def check_role(redis: ExaminedRedis) -> Finding:
    """Whether it accepts writes."""
    role = str(redis.info.get("role", "master"))
    if role != "master":
        return problem(
            f"This Redis is a {role}, which accepts no writes.",
            "Use the URL of the master, or a sentinel:// URL, which follows failovers.",
        )
    if redis.info.get("cluster_enabled"):
        return problem(
            "This Redis is part of a cluster, which Celery's transport can't use.",
            "Give clip-worker a Redis or Valkey that is no cluster.",
        )
    return ok("It is a master, and no cluster.")


def server_of(info: dict[str, Any]) -> tuple[str, Version, str]:
    """A server's name, its version as numbers, empty if unknown, and as it writes it.

    >>> server_of({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.3"})
    ('Valkey', (8, 1, 3), '8.1.3')
    """
    is_valkey = "valkey_version" in info
    number = str(info.get("valkey_version" if is_valkey else "redis_version", ""))
    version = tuple(int(part) for part in re.findall(r"\d+", number)[:3])
    return "Valkey" if is_valkey else "Redis", version, number


def _with_holes(server: str, holes: list[tuple[Hole, str]]) -> Finding:
    named = "; ".join(
        f"{' and '.join(hole.cves)} let{'s'[len(hole.cves) > 1 :]} {hole.what}" for hole, _ in holes
    )
    fixes = {fix for _, fix in holes}
    newest = max(fixes, key=lambda fix: tuple(map(int, fix.split("."))) if fix else ())
    remedy = (
        "Its branch gets no more fixes: upgrade to a newer one"
        if "" in fixes
        else f"Upgrade to {newest} or newer"
    )
    return warning(
        f"{server} has known holes: {named}.",
        f"{remedy}, unless your distribution has patched this build, which its number hides.",
    )
