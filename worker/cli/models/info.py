"""`clip-worker models info`: what a checkpoint is. The one command that loads torch itself."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import click
from torch import Tensor

from clip_engine.errors import CheckpointError
from clip_engine.formats import Checkpoint, read_checkpoint
from clip_engine.loader import DEMO_MODEL, locate_checkpoint
from clip_engine.weights.catalog import PUBLISHED
from worker.cli.models.options import cache_dir_option, download_hint
from worker.cli.output.usage_error import WrongInputError
from worker.quoting import quote


@click.command("info")
@click.argument("model", metavar="PATH-or-NAME")
@cache_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(model: str, cache_dir: Path, *, as_json: bool) -> None:
    """Describe the checkpoint at a path, or a published model that is in the cache, or `demo`.

    It is read and built as a worker would do it, so what is described here can be started.
    """
    try:
        info = ModelInfo.of(read_checkpoint(_locate(model, cache_dir)))
    except CheckpointError as error:
        raise WrongInputError(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(info)))
        return
    lines = dict(info.lines())
    width = max(map(len, lines))
    for name, value in lines.items():
        click.echo(f"{name:<{width}}  {value}")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A checkpoint, as `--json` prints it.

    Attributes:
        path: As it was found.
        format: What wrote it.
        published: Name of the published model whose bytes these are, if they are.
        digest: SHA-256, as results carry it.
        parameters: How many weights are learnt, buffers not counted.
        dtypes: How many of the stored numbers are of which type.
        config: The hyper-parameters.
    """

    path: str
    format: str
    published: str | None
    digest: str
    parameters: int
    dtypes: dict[str, int]
    config: dict[str, Any]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Describe a checkpoint.

        Raises:
            CheckpointError: Its weights make no model.
        """
        model, digest = checkpoint.build(), checkpoint.digest()
        return cls(
            path=str(checkpoint.path),
            format=checkpoint.format,
            published=next((one.name for one in PUBLISHED.values() if one.sha256 == digest), None),
            digest=digest,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            dtypes=_count_dtypes(checkpoint.state.values()),
            config=asdict(model.config),
        )

    def lines(self) -> Iterator[tuple[str, str]]:
        """What is printed for people."""
        yield "path", self.path
        yield "format", self.format
        yield "published as", self.published or "(not a published file)"
        yield "digest", self.digest
        yield "parameters", f"{self.parameters:,}"
        yield "stored as", ", ".join(f"{name} ({n:,})" for name, n in self.dtypes.items())
        for name, value in self.config.items():
            if value is not None:
                yield name.replace("_", " "), str(value)


def _locate(model: str, cache_dir: Path) -> Path:
    """The path of a checkpoint; nothing is fetched.

    Raises:
        WrongInputError: There is none.
    """
    if model == DEMO_MODEL:
        return locate_checkpoint(model)
    if model in PUBLISHED:
        path = cache_dir / PUBLISHED[model].filename
        remedy = f"fetch it with {download_hint(model)}"
    else:
        path = Path(model)
        names = ", ".join([DEMO_MODEL, *PUBLISHED])
        remedy = f"give a file, a model's folder, or one of {names}"
    if not os.path.exists(path):  # noqa: PTH110  # pathlib's fails where a name is too long
        raise WrongInputError(f"There is no {quote(str(path))}; {remedy}.")
    return path


def _count_dtypes(tensors: Iterable[Tensor]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.is_floating_point():
            counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dict(counts.most_common())
