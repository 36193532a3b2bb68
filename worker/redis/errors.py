"""Why a Redis can't be used, from the error that redis-py raises."""

from __future__ import annotations

import re
from enum import StrEnum

from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError

# Redis 6.2 answers a script's failure with "ERR Error running script (...): -OOM command not ...".
_WORD = re.compile(r"(?:^|\s-?)(READONLY|OOM|MISCONF|LOADING|MASTERDOWN|UNBLOCKED)\b")
_DEMOTED = "previous master is now"  # redis-py's own words, under Sentinel


class Fault(StrEnum):
    """A reason and a remedy, as parts of a sentence."""

    REPLICA = (
        "it is a replica, perhaps since a failover, and takes no writes; give the URL of the "
        "master, or a sentinel:// URL, which follows it"
    )
    MEMORY = (
        "its memory is full (maxmemory), so it takes no messages; let workers empty the queue, or "
        "give it more memory"
    )
    DISK = (
        "it can't write to its disk, so it takes no messages; see its log and free the disk, it "
        "then goes on by itself"
    )
    LOADING = "it is still loading its data from disk; try again in a moment"
    CLIENTS = (
        "as many clients are connected as it allows (maxclients); close some, or let it take more"
    )
    FILES = (
        "this process has as many files open as it may; close some, or raise its limit (ulimit -n)"
    )
    UNTRUSTED = (
        "its certificate can't be verified; name its authority's certificate with "
        "?ssl_ca_certs=/path/to/ca.pem, and Redis by a host name that is in the certificate"
    )


_FAULTS = {
    "READONLY": Fault.REPLICA,
    "MASTERDOWN": Fault.REPLICA,
    "UNBLOCKED": Fault.REPLICA,  # a blocking command was cut short: the master became a replica
    "OOM": Fault.MEMORY,
    "MISCONF": Fault.DISK,
    "LOADING": Fault.LOADING,
}
_PHRASES = {
    "max number of clients reached": Fault.CLIENTS,
    "Too many open files": Fault.FILES,
    "CERTIFICATE_VERIFY_FAILED": Fault.UNTRUSTED,
}
_CLASSES = {  # redis-py takes the first word off these replies
    ReadOnlyError: Fault.REPLICA,
    OutOfMemoryError: Fault.MEMORY,
    BusyLoadingError: Fault.LOADING,
}


def fault_of(error: BaseException) -> Fault | None:
    """Why Redis refused; None if it is none of these.

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
