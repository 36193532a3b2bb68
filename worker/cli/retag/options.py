"""Options of the commands that read a store of embeddings."""

from __future__ import annotations

import click

from worker.cli.options import text
from worker.variables import ENV_PREFIX

model_option = click.option(
    "--model",
    type=text,
    envvar=f"{ENV_PREFIX}MODEL",
    help="Model that made the embeddings.  [default: as for a worker]",
)
space_option = click.option(
    "--space",
    type=text,
    metavar="NAME",
    help="Preprocessing of the embeddings, where the store has several of this model.",
)
