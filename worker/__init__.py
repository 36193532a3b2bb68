"""The queue service around `clip_engine`: Celery tasks and their worker.

`worker.app` is the Celery application, so `celery -A worker worker` works. It is made when it is
first asked for (PEP 562): `import worker.client` must stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.celery import app

__all__ = ["app"]


def __getattr__(name: str) -> object:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from worker.celery import app

    return app
