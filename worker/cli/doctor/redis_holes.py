"""Published vulnerabilities of Redis and Valkey that let somebody run code on the server.

Each row names the first fixed release of a branch, from the vendors' release notes and the CVE
records. A branch without a row has no fix. Distributions patch without a new number, which
can't be seen from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Version = tuple[int, ...]
Branch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Hole:
    """A vulnerability.

    Attributes:
        cves: Its numbers.
        what: Who can do what, after "lets".
        since: First affected version.
        redis: First fixed release of each branch of Redis.
        valkey: First fixed release of each branch of Valkey; empty if Valkey is not affected.
        tls_only: Whether only servers with TLS are affected.
    """

    cves: tuple[str, ...]
    what: str
    since: Version
    redis: Mapping[Branch, Version]
    valkey: Mapping[Branch, Version]
    tls_only: bool = False


# First releases with the fixes of CVE-2026-23479, -23631 and -25243.
_FIXED_2026_REDIS = {
    (7, 2): (7, 2, 14),
    (7, 4): (7, 4, 9),
    (8, 2): (8, 2, 6),
    (8, 4): (8, 4, 3),
    (8, 6): (8, 6, 3),
}
_FIXED_2026_VALKEY = {
    (7, 2): (7, 2, 13),
    (8, 0): (8, 0, 9),
    (8, 1): (8, 1, 7),
    (9, 0): (9, 0, 4),
}

# Sources: CVE records (cvelistV5) and advisories GHSA-4789-qfc9-5f9q, GHSA-93m2-935m-8rj3,
# GHSA-8ghh-qpmp-7826, GHSA-c8h9-259x-jff4; release notes of Redis 7.4, 8.2 to 8.10 (redis/docs
# pull requests 3292, 3702, 3824), of 6.2.23, 6.2.24 and 7.2.16 (redis/redis 15520, 15657, 15667),
# and of Valkey (valkey-io/valkey 2684, 2686, 3631 to 3635; releases 9.1.1, 8.1.4).
HOLES = (
    Hole(
        ("CVE-2025-49844",),
        "any user who may run Lua run code on the server",
        (2, 6),
        redis={
            (6, 2): (6, 2, 20),
            (7, 2): (7, 2, 11),
            (7, 4): (7, 4, 6),
            (8, 0): (8, 0, 4),
            (8, 2): (8, 2, 2),
        },
        valkey={(7, 2): (7, 2, 11), (8, 0): (8, 0, 6), (8, 1): (8, 1, 4)},
    ),
    Hole(
        ("CVE-2026-23479",),
        "any user who may run blocking commands run code on the server",
        (7, 2),
        redis=_FIXED_2026_REDIS,
        valkey=_FIXED_2026_VALKEY,
    ),
    Hole(
        ("CVE-2026-23631", "CVE-2026-25243"),
        "users who may run Lua on a writable replica, or RESTORE, run code on the server",
        (2, 6),
        redis={(6, 2): (6, 2, 22), **_FIXED_2026_REDIS},
        valkey=_FIXED_2026_VALKEY,
    ),
    Hole(
        ("CVE-2026-81934",),
        "anybody who can connect by TLS run code on the server, without a password",
        (6, 2),
        redis={
            (6, 2): (6, 2, 24),
            (7, 2): (7, 2, 16),
            (7, 4): (7, 4, 11),
            (8, 2): (8, 2, 9),
            (8, 4): (8, 4, 6),
            (8, 6): (8, 6, 6),
            (8, 8): (8, 8, 2),
            (8, 10): (8, 10, 1),
        },
        valkey={},
        tls_only=True,
    ),
    Hole(
        ("CVE-2026-56684",),
        "any user who connects by TLS and may run CLIENT KILL run code on the server",
        (7, 2),
        redis={},
        valkey={
            (7, 2): (7, 2, 14),
            (8, 0): (8, 0, 10),
            (8, 1): (8, 1, 9),
            (9, 0): (9, 0, 5),
            (9, 1): (9, 1, 1),
        },
        tls_only=True,
    ),
)


def holes_of(version: Version, *, is_valkey: bool, uses_tls: bool) -> list[tuple[Hole, str]]:
    """The holes that a server has, each with the first release of its branch that has a fix.

    >>> [hole.cves for hole, _ in holes_of((8, 2, 1), is_valkey=False, uses_tls=False)][0]
    ('CVE-2025-49844',)

    Args:
        version: Of the server, as Valkey counts if it is one.
        is_valkey: Whether it is Valkey.
        uses_tls: Whether this connection is by TLS.

    Returns:
        The release is empty if its branch has none.
    """
    found = []
    for hole in HOLES:
        fixes = hole.valkey if is_valkey else hole.redis
        if not fixes or version < hole.since or (hole.tls_only and not uses_tls):
            continue
        branch: Branch = (version[0], version[1])
        if branch > max(fixes):  # a later branch began with the fix
            continue
        fix = fixes.get(branch)
        if fix is None or version < fix:
            found.append((hole, ".".join(map(str, fix or ()))))
    return found
