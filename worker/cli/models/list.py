"""`clip-worker models list`: models that people run, and which of them are in a cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self, TypeAlias

import click

from clip_engine.weights.cache import part_of
from clip_engine.weights.catalog import PUBLISHED, Published
from clip_engine.weights.checksum import is_noted
from clip_engine.weights.http import split_login
from clip_engine.weights.known import KnownModel, known_models
from clip_worker.quoting import quote
from worker.cli.models.measure import images_per_second
from worker.cli.models.options import cache_dir_option, mirror_option, size_bytes
from worker.cli.options import json_lines_option
from worker.cli.output.columns import print_columns
from worker.cli.output.usage_error import WrongInputError

Cached: TypeAlias = Literal["verified", "unchecked", "present", "partly", "no"]

HEADINGS = (
    *("name", "family", "parameters", "pixels", "cost", "ImageNet"),
    *("languages", "licence", "cached", "images/s"),
)


@click.command("list")
@cache_dir_option
@mirror_option
@click.option(
    "--measure",
    is_flag=True,
    help="Load each model that is cached, and measure its image tower on this machine.",
)
@json_lines_option
def command(cache_dir: Path, mirror: str | None, *, measure: bool, as_json: bool) -> None:
    """List models that people run; any other of open_clip's tags and of the hub works too.

    "parameters" are those of both towers. "cost" is the arithmetic of one image, as a multiple of
    ViT-B/32's. "ImageNet" is the published zero-shot accuracy in percent. "licence" is that of the
    weights, "?" where it could not be verified (docs/models.md has the sources). "cached" is
    `verified` or, for a file that is hashed before its first use, `unchecked`; `present` in the
    Hugging Face hub's cache; `partly` for an interrupted download; or `no`. "images/s" is empty
    without --measure.
    """
    try:
        listed = list(_all(cache_dir, mirror))
    except OSError as error:
        raise WrongInputError(
            f"The cache {quote(str(cache_dir))} can't be read: {error.strerror}; choose another "
            "folder with --cache-dir."
        ) from error
    if measure:
        listed = [one.measured(cache_dir) for one in listed]
    if as_json:
        for one in listed:
            click.echo(json.dumps(asdict(one)))
    else:
        print_columns(HEADINGS, (one.row() for one in listed))


def _all(cache_dir: Path, mirror: str | None) -> Iterator[Listed]:
    known = {model.name: model for model in known_models()}
    for published in PUBLISHED.values():
        yield Listed.of_openai(published, known.pop(published.name, None), cache_dir, mirror)
    for model in known.values():
        if model.repository is not None:
            yield Listed.of_hub(model)


@dataclass(frozen=True, slots=True)
class Listed:
    """A model, as `--json` prints it; what isn't known is null.

    Attributes:
        name: Its name, for `--model`.
        resolution: Width and height of its input, in pixels.
        family: Such as `SigLIP 2`.
        parameters_m: Parameters of both towers, in millions.
        image_gflops: Operations of the image tower for one image, in billions.
        relative_cost: The same as a multiple of ViT-B/32's.
        imagenet: Published zero-shot top-1 accuracy on ImageNet, in percent.
        languages: Of labels.
        licence: Of the weights.
        licence_source: Where it says so.
        sha256: Digest of the file, of OpenAI's models.
        url: Where that file is downloaded from.
        repository: On the Hugging Face hub, of the others.
        cached: Whether it is in a cache.
        path: The file or folder in the cache, if there is one.
        size_bytes: Its size.
        images_per_s: Of the image tower on this machine, if that was asked for.
    """

    name: str
    resolution: int
    family: str | None = None
    parameters_m: float | None = None
    image_gflops: float | None = None
    relative_cost: float | None = None
    imagenet: float | None = None
    languages: str | None = None
    licence: str | None = None
    licence_source: str | None = None
    sha256: str | None = None
    url: str | None = None
    repository: str | None = None
    cached: Cached = "no"
    path: str | None = None
    size_bytes: int | None = None
    images_per_s: float | None = None

    @classmethod
    def of_known(cls, model: KnownModel) -> Self:
        """What the table says about a model."""
        return cls(
            name=model.name,
            resolution=model.resolution,
            family=model.family,
            parameters_m=model.parameters_m,
            image_gflops=model.image_gflops,
            relative_cost=round(model.relative_cost, 2),
            imagenet=model.imagenet,
            languages=model.languages,
            licence=model.licence,
            licence_source=model.licence_source,
            repository=model.repository,
        )

    @classmethod
    def of_openai(
        cls, published: Published, known: KnownModel | None, cache_dir: Path, mirror: str | None
    ) -> Self:
        """Look up one of OpenAI's models.

        Raises:
            OSError: The cache can't be read.
        """
        facts = cls.of_known(known) if known else cls(published.name, published.input_resolution)
        url, _ = split_login(published.mirrored(mirror) if mirror else published.url)
        listed = replace(facts, sha256=published.sha256, url=url)
        path = cache_dir / published.filename
        if path.exists():
            state: Cached = "verified" if is_noted(path, published.sha256) else "unchecked"
            return listed.found(path, state)
        part = part_of(path)
        return listed.found(part, "partly") if part.exists() else listed

    @classmethod
    def of_hub(cls, model: KnownModel) -> Self:
        """Look up a model of the Hugging Face hub.

        Raises:
            OSError: The cache can't be read.
        """
        listed = cls.of_known(model)
        folder = model.cached()
        return listed if folder is None else listed.found(folder, "present")

    def found(self, path: Path, state: Cached) -> Self:
        """A copy with the place in a cache."""
        return replace(self, cached=state, path=str(path), size_bytes=size_bytes(path))

    def measured(self, cache_dir: Path) -> Self:
        """A copy with its speed on this machine, if it is cached."""
        if self.cached in ("no", "partly"):
            return self
        return replace(self, images_per_s=round(images_per_second(self.name, cache_dir), 1))

    def row(self) -> tuple[str, ...]:
        """The model's row of the table."""
        return (
            self.name,
            self.family or "",
            "" if self.parameters_m is None else f"{self.parameters_m:,.0f} M",
            str(self.resolution),
            "" if self.relative_cost is None else f"{self.relative_cost:.1f}",
            "" if self.imagenet is None else f"{self.imagenet:.1f}",
            self.languages or "",
            self.licence or "?",
            self.cached,
            "" if self.images_per_s is None else f"{self.images_per_s:,.1f}",
        )
