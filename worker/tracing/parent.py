"""Reads the trace context that a producer sent with its message, which anybody may have written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clip_worker.contract.trace_context import TRACEPARENT, TRACESTATE

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
LENGTH = 55  # of a `traceparent` of version 00
UNSAMPLED = "02468ace"  # last digits of its flags
MOST_STATE = 512  # characters of `tracestate`; the specification asks for no more


def carried(headers: Mapping[str, Any]) -> dict[str, str]:
    """The well-formed headers of a trace context; empty without one.

    >>> carried({"traceparent": "x"})
    {}
    """
    parent, state = headers.get(TRACEPARENT), headers.get(TRACESTATE)
    if not isinstance(parent, str) or len(parent) > MOST_STATE:
        return {}
    if not _TRACEPARENT.fullmatch(parent):
        return {}
    is_short = isinstance(state, str) and len(state) <= MOST_STATE
    return {TRACEPARENT: parent} | ({TRACESTATE: str(state)} if is_short else {})


def is_unsampled(headers: Mapping[str, Any]) -> bool:
    """Whether the producer has decided that this trace is not recorded; asked of every message.

    >>> is_unsampled({"traceparent": f"00-{32 * 'a'}-{16 * 'b'}-00"})
    True
    """
    parent = headers.get(TRACEPARENT)
    if not isinstance(parent, str) or len(parent) != LENGTH or parent[-1] not in UNSAMPLED:
        return False
    return _TRACEPARENT.fullmatch(parent) is not None
