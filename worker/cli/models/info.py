"""`clip-worker models info`: describes a model. The only command that loads torch itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import click
import torch
from torch import Tensor

from clip_engine.acceleration import PLAIN
from clip_engine.dual_encoder import DualEncoder
from clip_engine.errors import CheckpointError, DownloadError, InputError, ModelNotFoundError
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.families.load import load_dual_encoder
from clip_engine.formats.find_weights import find_weights
from clip_engine.formats.weights_file import read_weights
from clip_engine.model import Activation
from clip_engine.weights.catalog import PUBLISHED
from clip_engine.weights.locate import locate_model
from clip_engine.weights.located import LocatedModel
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
    """Describe a model: any name that a worker takes, whose files are in a cache, or a path.

    It is loaded as a worker loads it, so a model that is described here can be started.
    """
    located = _locate(model, cache_dir)
    try:
        info = ModelInfo.of(located, activation)
    except (CheckpointError, InputError) as error:
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
    """A model, as `--json` prints it.

    Attributes:
        path: Path of the file or folder.
        revision: Commit of the hub's repository, if it is from there.
        family: What it is, such as `SigLIP 2`.
        library: What loads it: `clip_engine`, `open_clip` or `transformers`.
        format: Format of the weights.
        published: Name of the published model with the same bytes, if there is one.
        digest: SHA-256, as in results.
        parameters: Number of learnt weights, without buffers; of other libraries' models the number
            of all stored values.
        dtypes: Number of stored values by type.
        config: The hyper-parameters.
    """

    path: str
    revision: str | None
    family: str
    library: str
    format: str
    published: str | None
    digest: str
    parameters: int
    dtypes: dict[str, int]
    config: dict[str, Any]

    @classmethod
    def of(cls, located: LocatedModel, activation: Activation | None) -> Self:
        """Describe a model.

        Raises:
            CheckpointError: It can't be loaded.
            InputError: Its config specifies another activation.
        """
        loaded = load_dual_encoder(
            located, device=torch.device("cpu"), activation=activation, acceleration=PLAIN
        )
        encoder, digest = loaded.encoder, loaded.digest
        dtypes = _count_dtypes(read_weights(find_weights(located.path)).state.values())
        own = encoder.clip.parameters() if isinstance(encoder, ClipDualEncoder) else None
        return cls(
            path=str(located.path),
            revision=located.revision,
            family=loaded.family.name,
            library=loaded.family.library,
            format=loaded.format,
            published=next((one.name for one in PUBLISHED.values() if one.sha256 == digest), None),
            digest=digest,
            parameters=sum(one.numel() for one in own) if own else sum(dtypes.values()),
            dtypes=dtypes,
            config=_config(encoder),
        )

    def lines(self) -> Iterator[tuple[str, str]]:
        """The lines of the printed description."""
        yield "path", self.path
        if self.revision:
            yield "commit", self.revision
        yield "family", self.family
        yield "loaded by", self.library
        yield "format", self.format
        yield "published as", self.published or "(not a published file)"
        yield "digest", self.digest
        yield "parameters", f"{self.parameters:,}"
        yield "stored as", ", ".join(f"{name} ({n:,})" for name, n in self.dtypes.items())
        for name, value in self.config.items():
            if value is not None:
                yield name.replace("_", " "), str(value)


def _locate(model: str, cache_dir: Path) -> LocatedModel:
    """A model's files, without downloading anything.

    Raises:
        WrongInputError: There are none.
    """
    if model in PUBLISHED:
        path = cache_dir / PUBLISHED[model].filename
        if not path.exists():
            hint = download_hint(model)
            raise WrongInputError(f"There is no {quote(str(path))}; download it with {hint}.")
        return LocatedModel(model, path)
    try:
        return locate_model(model, cache_dir, offline=True)
    except ModelNotFoundError as error:
        raise WrongInputError(str(error)) from error
    except DownloadError as error:
        raise WrongInputError(f"{error} Or use {download_hint(model)}.") from error


def _config(encoder: DualEncoder) -> dict[str, Any]:
    """What the engine needs to know of a model; of our own CLIP all hyper-parameters."""
    if isinstance(encoder, ClipDualEncoder):
        return asdict(encoder.clip.config)
    return {
        "embed_dim": encoder.embed_dim,
        "image_resolution": encoder.transform.resolution,
        "resize": encoder.transform.resize,
        "interpolation": encoder.transform.interpolation,
        "context_length": encoder.tokenize(["a"]).shape[1],
        "trained_with": encoder.trained_with,
        "logit_scale": encoder.logit_scale,
        "logit_bias": encoder.logit_bias,
    }


def _count_dtypes(tensors: Iterable[Tensor]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.is_floating_point():
            counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dict(counts.most_common())
