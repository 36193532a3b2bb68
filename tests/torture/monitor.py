"""Hears every result that is stored, at the moment it is stored.

Celery's result key is written and published in one transaction, with the whole result as payload,
by stock Celery as by our finish script. A subscriber on the server therefore sees each final state
of each task in order: one that was stored twice, or changed, as well as one that was stored once.

Subscriptions die with the server. The harness lets no worker in before this one is back, but what a
server carries out in its last moment it may keep without telling anybody; so on coming back the
monitor also looks for results that it has not heard of.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

import redis

RESULT_PREFIX = "celery-task-meta-"
FINAL = ("SUCCESS", "FAILURE", "REVOKED")


@dataclass(frozen=True)
class FinalState:
    """A stored result, reduced to what is compared: answer is a label, or a failure's code."""

    state: str
    answer: str
    probability: float
    at_s: float = 0.0

    @classmethod
    def of(cls, stored: bytes, at_s: float = 0.0) -> Self:
        meta: dict[str, Any] = json.loads(stored)
        result = meta["result"]
        if meta["status"] == "SUCCESS" and result and result.get("predictions"):
            first = result["predictions"][0]
            return cls("SUCCESS", first["label"], first["probability"], at_s)
        return cls(meta["status"], _code(result), 0.0, at_s)


class Monitor:
    """Collects final states by task id, while it is entered.

    Args:
        port: Of the server on loopback.
    """

    def __init__(self, port: int) -> None:
        self.states: dict[str, list[FinalState]] = {}
        self.subscribed = threading.Event()
        self._port = port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.subscribed.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except redis.RedisError:
                time.sleep(0.02)

    def _listen(self) -> None:
        with redis.Redis(port=self._port, retry=None) as client, client.pubsub() as pubsub:
            pubsub.psubscribe(RESULT_PREFIX + "*")
            while not self._stopping.is_set():
                message = pubsub.get_message(timeout=0.2)
                if message is None:
                    continue
                if message["type"] == "psubscribe":
                    self._catch_up()
                    self.subscribed.set()
                elif message["type"] == "pmessage":
                    self._hear(message["channel"].decode(), message["data"])

    def _catch_up(self) -> None:
        with redis.Redis(port=self._port, retry=None) as client:
            for key in client.scan_iter(RESULT_PREFIX + "*", count=1000):
                name = key.decode()
                if name.removeprefix(RESULT_PREFIX) not in self.states and (
                    data := client.get(key)
                ):
                    self._hear(name, data)

    def _hear(self, channel: str, data: bytes) -> None:
        final = FinalState.of(data, time.monotonic())
        if final.state in FINAL:
            self.states.setdefault(channel.removeprefix(RESULT_PREFIX), []).append(final)


def _code(result: Any) -> str:
    """The code of one of our errors, else the exception's class."""
    if not isinstance(result, dict):
        return repr(result)
    code = re.search(r" \[([A-Z0-9_]+)\]$", str((result.get("exc_message") or [""])[0]))
    return code[1] if code else str(result.get("exc_type"))
