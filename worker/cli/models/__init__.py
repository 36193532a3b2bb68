"""`clip-worker models`: the published models' weights on this machine, and what a checkpoint is."""

from __future__ import annotations

import click

from worker.cli.lazy_group import LazyGroup

COMMANDS = {
    "list": "List the published models: which of them are here, and where the others are.",
    "download": "Fetch models into the cache and verify them.",
    "verify": "Hash the cached files anew.",
    "info": "Describe a checkpoint: format, size, hyper-parameters, digest.",
}


@click.group("models", cls=LazyGroup, package="worker.cli.models", lines=COMMANDS)
def command() -> None:
    """The published models and their weights.

    Weights are kept in ~/.cache/clip, or where CLIP_WORKER_CACHE_DIR says. A worker fetches what it
    lacks by itself; `download` does so beforehand, for an image or a machine without a network.
    """
