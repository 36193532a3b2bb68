"""A process that has imported everything and forks a worker on command.

A fresh worker process spends seconds importing torch and Celery; a run with hundreds of deaths on
two cores would mostly measure that. The zygote imports once, holds no thread, no connection and no
device, and forks: what a child then runs is the worker's command from its first line on.

Commands and reports are JSON lines on standard input and output. It ends, and its children with it,
when its standard input does: however the harness ends, nothing stays behind.

    python -m torture.zygote MODULE...
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any


def main(modules: Sequence[str]) -> int:
    """Import, then fork until standard input ends; in a child, run what was asked for."""
    for module in modules:
        importlib.import_module(module)
    if threading.active_count() > 1:
        raise SystemExit(f"importing {modules} started threads, which a fork would lose")
    gc.collect()
    gc.freeze()  # so that a child's collector doesn't copy every page that it looks at
    # As far as the children report: ready, and what the imports took.
    used = resource.getrusage(resource.RUSAGE_SELF)
    _report(event="ready", cpu_s=used.ru_utime + used.ru_stime)
    child = Zygote().serve()
    return _become(child) if child else 0


class Zygote:
    """The parent's loop: commands in, deaths out."""

    def __init__(self) -> None:
        self._children: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def serve(self) -> dict[str, Any] | None:
        """Return a command in the child that is to run it, and None once it all ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness decides what Ctrl-C means
        pending = b""
        while True:
            readable, _, _ = select.select([0, self._wake_read], [], [])
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
                self._reap()
            if 0 in readable:
                piece = os.read(0, 65_536)
                if not piece:
                    self._kill_all()
                    return None
                *lines, pending = (pending + piece).split(b"\n")
                for line in lines:
                    command = json.loads(line)
                    if not self._fork():
                        return dict(command)

    def _fork(self) -> int:
        pid = os.fork()
        if pid:
            self._children.add(pid)
            return pid
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for end in (self._wake_read, self._wake_write):
            os.close(end)
        os.setsid()
        _report(event="started", pid=os.getpid())  # not before there is a group to be killed
        return 0

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                self._children.discard(pid)
                _report(event="ended", pid=pid, status=os.waitstatus_to_exitcode(status))

    def _kill_all(self) -> None:
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _report(**report: object) -> None:
    os.write(1, json.dumps(report).encode() + b"\n")


def _become(command: dict[str, Any]) -> int:
    log = os.open(command["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(command["environment"])
    module, _, arguments = command["module"], None, command["arguments"]
    sys.argv = [module, *arguments]
    return int(importlib.import_module(module).main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
