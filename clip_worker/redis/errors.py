"""Finds the reason for which Redis can't be used in redis-py's errors."""

from __future__ import annotations

import re
from enum import StrEnum

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)

# Redis 6.2 reports a script's error as "ERR Error running script (...): -OOM command not ...".
_WORD = re.compile(r"(?:^|\s-?)(READONLY|OOM|MISCONF|LOADING|MASTERDOWN|UNBLOCKED|NOPERM)\b")
_DEMOTED = "previous master is now"  # redis-py's message with Sentinel


class Fault(StrEnum):
    """A reason and a remedy, as the second half of a sentence."""

    REPLICA = (
        "it is a replica, perhaps since a failover, and accepts no writes; use the URL of the "
        "master, or a sentinel:// URL, which follows failovers"
    )
    MEMORY = (
        "its memory is full (maxmemory), so it accepts no messages; let workers empty the queue, "
        "or give it more memory"
    )
    DISK = (
        "it can't write to its disk, so it accepts no messages; check its log and free disk space, "
        "after which it continues by itself"
    )
    LOADING = "it is still loading its data from disk; try again in a moment"
    CLIENTS = "its limit of clients is reached (maxclients); close some, or raise the limit"
    FILES = "this process has too many open files; close some, or raise its limit (ulimit -n)"
    LOGIN = (
        "it wants another user or password; give both in the URL, as in "
        "redis://user:password@host:6379/0"
    )
    RIGHTS = (
        "its user lacks a right, which `ACL LOG` there names; docs/security.md has the rights "
        "that a worker, a client and an operator need"
    )
    UNTRUSTED = (
        "its certificate can't be verified; add the authority's certificate to the URL "
        "(?ssl_ca_certs=/path/to/ca.pem), and use a host name that is in the certificate"
    )


_FAULTS = {
    "READONLY": Fault.REPLICA,
    "MASTERDOWN": Fault.REPLICA,
    "UNBLOCKED": Fault.REPLICA,  # a blocking command, when the master became a replica
    "OOM": Fault.MEMORY,
    "MISCONF": Fault.DISK,
    "LOADING": Fault.LOADING,
    "NOPERM": Fault.RIGHTS,
}
_PHRASES = {
    "already authenticated, otherwise the HELLO AUTH": Fault.LOGIN,  # redis-py 8's first command
    "max number of clients reached": Fault.CLIENTS,
    "Too many open files": Fault.FILES,
    "CERTIFICATE_VERIFY_FAILED": Fault.UNTRUSTED,
}
_CLASSES = {  # redis-py removes the first word of these replies
    ReadOnlyError: Fault.REPLICA,
    OutOfMemoryError: Fault.MEMORY,
    BusyLoadingError: Fault.LOADING,
    NoPermissionError: Fault.RIGHTS,
    AuthenticationError: Fault.LOGIN,
}


def fault_of(error: BaseException) -> Fault | None:
    """Why Redis can't be used; None if the reason is not one of these.

    >>> fault_of(Exception("MISCONF Redis is configured to save RDB snapshots, but ...")).name
    'DISK'
    """
    for kind, fault in _CLASSES.items():
        if isinstance(error, kind):
            return fault
    if _DEMOTED in str(error):
        return Fault.REPLICA
    for phrase, fault in _PHRASES.items():
        if phrase in str(error):
            return fault
    found = _WORD.search(str(error))
    return _FAULTS[found[1]] if found else None
