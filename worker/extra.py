"""What the worker needs on top of the client: the package's extra `worker`."""

from __future__ import annotations

from importlib.util import find_spec

# Import names of the extra's packages; without simplejpeg Pillow decodes.
MODULES = (
    "torch",
    "torchvision",
    "numpy",
    "ftfy",
    "regex",
    "PIL",
    "safetensors",
    "pydantic_settings",
    "urllib3",
    "filelock",
    "rich",
    "prometheus_client",
)


def missing_extra(who: str) -> str | None:
    """A sentence about what is missing and how to install it; None if the extra is installed.

    Args:
        who: What needs the extra, as the sentence's subject.
    """
    for name in MODULES:
        if find_spec(name) is None:
            return (
                f"{who} needs the module {name}, which is not installed; install the worker: "
                'pip install "clip-worker[worker]"'
            )
    return None
