"""`clip-worker models`: lists, downloads, verifies and describes models."""

from __future__ import annotations

import click

from worker.cli.lazy_group import LazyGroup

COMMANDS = {
    "list": "List models that people run, and which of them are cached.",
    "download": "Download models to their caches.",
    "verify": "Verify the cached files by their hashes.",
    "info": "Describe a model: family, format, size, hyper-parameters, digest.",
}


@click.group("models", cls=LazyGroup, package="worker.cli.models", lines=COMMANDS)
def command() -> None:
    """Manage models and their files.

    OpenAI's weights are kept in ~/.cache/clip, or in CLIP_WORKER_CACHE_DIR; what comes from the
    Hugging Face hub in its own cache, HF_HOME. A worker downloads missing files by itself;
    `download` does it beforehand, for a container image or an offline machine.
    """
