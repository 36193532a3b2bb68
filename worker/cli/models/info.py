"""`clip-worker models info`: describes a checkpoint. The only command that loads torch itself."""

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
from clip_engine.model import Activation
from clip_engine.weights.catalog import PUBLISHED
from clip_engine.weights.locate import DEMO_MODEL, locate_model
from clip_worker.quoting import quote
from worker.cli.models.options import cache_dir_option, download_hint
from worker.cli.output.usage_error import WrongInputError
from worker.variables import ENV_PREFIX


@click.command("info")
@click.argument("model", metavar="PATH-or-NAME")
@cache_dir_option
@click.option(
    "--activation",
    type=click.Choice(["quick_gelu", "gelu"]),
    envvar=f"{ENV_PREFIX}ACTIVATION",
    help="Of the MLPs; needed where the weights don't specify it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str, cache_dir: Path, activation: Activation | None, *, as_json: bool) -> None:
    """Describe a checkpoint: a path, a published model in the cache, or `demo`.

    It is loaded as a worker loads it, so a model that is described here can be started.
    """
    try:
        info = ModelInfo.of(read_checkpoint(_locate(model, cache_dir), activation))
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
        path: Path of the file.
        format: Its format.
        published: Name of the published model with the same bytes, if there is one.
        digest: SHA-256, as in results.
        parameters: Number of learnt weights, without buffers.
        dtypes: Number of stored values by type.
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
            CheckpointError: No model can be built from its weights.
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
        """The lines of the printed description."""
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
    """The path of a checkpoint, without downloading anything.

    Raises:
        WrongInputError: There is no such file.
    """
    if model == DEMO_MODEL:
        return locate_model(model).path
    if model in PUBLISHED:
        path = cache_dir / PUBLISHED[model].filename
        remedy = f"download it with {download_hint(model)}"
    else:
        path = Path(model)
        names = ", ".join([DEMO_MODEL, *PUBLISHED])
        remedy = f"give the path of a checkpoint, or one of {names}"
    if not os.path.exists(path):  # noqa: PTH110  # pathlib's fails where a name is too long
        raise WrongInputError(f"There is no {quote(str(path))}; {remedy}.")
    return path


def _count_dtypes(tensors: Iterable[Tensor]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.is_floating_point():
            counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dict(counts.most_common())
