"""`clip-worker models`: lists, downloads and verifies published weights, describes checkpoints."""

from __future__ import annotations

import click

from worker.cli.lazy_group import LazyGroup

COMMANDS = {
    "list": "List the published models, and which of them are in the cache.",
    "download": "Download models to the cache and verify them.",
    "verify": "Verify the cached files by their hashes.",
    "info": "Describe a checkpoint: format, size, hyper-parameters, digest.",
}


@click.group("models", cls=LazyGroup, package="worker.cli.models", lines=COMMANDS)
def command() -> None:
    """Manage the weights of the published models.

    Weights are kept in ~/.cache/clip, or in CLIP_WORKER_CACHE_DIR. A worker downloads missing
    weights by itself; `download` does it beforehand, for a container image or an offline machine.
    """
