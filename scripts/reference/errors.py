"""Tables of the exceptions."""

from __future__ import annotations

from importlib import import_module

from worker.cli.entry import FAILURE_STATUS, INTERRUPTED_STATUS
from worker.cli.output.usage_error import WRONG_INPUT_STATUS
from worker.runtime.watchdog import DEVICE_LOST, HUNG

STATUSES = {
    0: "the command did what it was asked to; a worker was stopped by SIGTERM",
    FAILURE_STATUS: "something failed, as the last line says: settings, Redis, the model or the "
    "device of a worker, or an image of `classify`; a worker was stopped by Ctrl-C",
    WRONG_INPUT_STATUS: "an option or argument is wrong; a worker's settings are",
    HUNG: "a forward pass took longer than `CLIP_WORKER_HANG_TIMEOUT_S`; its tasks run again",
    DEVICE_LOST: "the GPU failed in a way that only a new process mends; its tasks run again",
    INTERRUPTED_STATUS: "Ctrl-C ended a command",
}


def table(module: str) -> str:
    """Return the exceptions of a module, in the order in which it defines them."""
    names = import_module(module)
    errors = [
        each
        for each in vars(names).values()
        if isinstance(each, type) and issubclass(each, Exception) and each.__module__ == module
    ]
    coded = any(hasattr(each, "default_code") for each in errors)
    head = "| exception | is a | code, if no other | |" if coded else "| exception | is a | |"
    rows = [_row(each, coded=coded) for each in errors]
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *rows])


def exit_statuses() -> str:
    """Return what each exit status means."""
    rows = [f"| {status} | {meaning} |" for status, meaning in sorted(STATUSES.items())]
    return "\n".join(["| status | |", "|---|---|", *rows])


def _row(error: type[Exception], *, coded: bool) -> str:
    meaning = (error.__doc__ or "").partition("\n")[0]
    base = error.__bases__[0].__name__
    code = f" `{getattr(error, 'default_code', '')}` |" if coded else ""
    return f"| `{error.__name__}` | `{base}` |{code} {meaning} |"
