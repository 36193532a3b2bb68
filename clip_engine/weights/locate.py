"""Finds a model by its name or path, and downloads it if necessary.

What a name may be, in the order in which it is looked up:

1. `demo`, or one of the nine names that OpenAI published, such as `ViT-B/32`.
2. The path of a file or folder that exists.
3. A tag of open_clip, `ViT-B-16-SigLIP2-256/webli`.
4. A repository of the Hugging Face hub, `openai/clip-vit-base-patch32`; with `hf-hub:` before it,
   it is neither read as a path nor as a tag.

Names of 3 and 4 may be followed by `@` and a revision: a branch, a tag or a commit.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_engine.errors import DownloadError, ModelNotFoundError
from clip_engine.weights.cache import default_cache_dir, fetch_weights
from clip_engine.weights.catalog import PUBLISHED
from clip_engine.weights.hub import Repository
from clip_engine.weights.known import known_models
from clip_engine.weights.layouts import (
    HUGGING_FACE_CONFIG,
    OPEN_CLIP_CONFIG,
    has_tokenizer,
    small_files,
    weights_by_config,
)
from clip_engine.weights.located import LocatedModel
from clip_engine.weights.open_clip_tags import Tag, architecture_config, find_tag
from clip_engine.weights.suggestions import did_you_mean, suggestion

if TYPE_CHECKING:
    from clip_engine.weights.download import Progress

DEMO_MODEL = "demo"  # shipped with this package; see demo/MODEL_CARD.md
HUB_PREFIX = "hf-hub:"  # as in open_clip
EXTRA = "clip-worker[models]"

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_SUFFIXES_OF_FILES = (".pt", ".pth", ".bin", ".safetensors", ".json", ".ckpt")


def locate_model(  # noqa: PLR0913  # all but one have a default
    name: str,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    *,
    mirror: str | None = None,
    offline: bool = False,
    refresh: bool = False,
) -> LocatedModel:
    """A model's files, which are downloaded if they aren't in a cache.

    Args:
        name: Of the model, as above.
        cache_dir: Folder for the nine published models; None for `~/.cache/clip`. What comes from
            the hub is kept in the hub's own cache.
        progress: Called with the bytes done and the total, if known, during a download.
        mirror: Base URL to download the nine from. For the hub HF_ENDPOINT counts.
        offline: Whether downloads are forbidden.
        refresh: Whether the hub is asked if a branch has moved, although its files are cached.

    Raises:
        ModelNotFoundError: There is no such model, or a library that it needs is missing.
        DownloadError: The files can't be downloaded.
    """
    if name == DEMO_MODEL:
        return LocatedModel(
            name, Path(str(resources.files("clip_engine").joinpath("demo/demo.pt")))
        )
    if name in PUBLISHED:
        folder = cache_dir or default_cache_dir()
        return LocatedModel(
            name,
            fetch_weights(
                PUBLISHED[name], folder, mirror=mirror, offline=offline, progress=progress
            ),
        )
    hub = _Hub(progress, offline=offline, refresh=refresh)
    return hub.at_path(Path(name)) if is_path(name) else hub.by_name(name)


def is_path(name: str) -> bool:
    """Whether a name is read as the path of a file or folder, which exists."""
    return os.path.exists(name)  # noqa: PTH110  # pathlib's fails where a name is too long


@dataclass(frozen=True, slots=True)
class _Hub:
    """Locates models whose names are open_clip's or the hub's, and what other models need of it."""

    progress: Progress | None
    offline: bool
    refresh: bool

    def by_name(self, name: str) -> LocatedModel:
        reference, _, revision = name.removeprefix(HUB_PREFIX).partition("@")
        is_hubs = name.startswith(HUB_PREFIX)
        tag = None if is_hubs else find_tag(reference)
        if tag is None and not (is_hubs or _may_be_repository(reference)):
            raise ModelNotFoundError(f"Unknown model {name!r}. {suggestion(name)}")
        _require_extra(name)
        if tag is not None:
            return self._tag(name, tag, revision or None)
        return self._repository(name, Repository(reference, revision or None, weights_by_config))

    def at_path(self, path: Path) -> LocatedModel:
        located = LocatedModel(path.stem, path)
        config = _json_in(_folder(path) / OPEN_CLIP_CONFIG)
        if not config or find_spec("huggingface_hub") is None:
            return located  # the reader of its format says what is missing
        return self._with_companions(located, config)

    def _tag(self, name: str, tag: Tag, revision: str | None) -> LocatedModel:
        files = tag.files(revision)
        folder = self._fetch(files)
        weights = files.choose([entry.name for entry in folder.iterdir()])[0]
        located = LocatedModel(
            name, folder / weights, tag.architecture, tag.overrides, revision=folder.name
        )
        return self._with_companions(located, architecture_config(tag.architecture))

    def _repository(self, name: str, repository: Repository) -> LocatedModel:
        try:
            folder = self._fetch(repository)
        except (ModelNotFoundError, DownloadError) as error:
            raise type(error)(f"{error} {did_you_mean(name)}".rstrip()) from error
        located = LocatedModel(name, folder, revision=folder.name)
        return self._with_companions(located, _json_in(folder / OPEN_CLIP_CONFIG))

    def _with_companions(self, located: LocatedModel, config: Mapping[str, Any]) -> LocatedModel:
        """Fetch the repositories that a config's text tower names, unless it has their files."""
        own = _folder(located.path)
        names = {_text_entry(config, "hf_model_name")} if not _has_text_config(own) else set()
        if not has_tokenizer([entry.name for entry in own.iterdir()]):
            names.add(_text_entry(config, "hf_tokenizer_name"))
        repositories = [Repository(name, None, small_files, "tokenizer") for name in names if name]
        companions = {one.name: self._fetch(one) for one in repositories}
        return replace(located, companions=companions)

    def _fetch(self, repository: Repository) -> Path:
        return repository.fetch(offline=self.offline, refresh=self.refresh, progress=self.progress)


def _folder(path: Path) -> Path:
    """The folder of a model's files."""
    return path if path.is_dir() else path.parent


def _has_text_config(folder: Path) -> bool:
    """Whether a folder's Hugging Face config is that of a text model."""
    return _json_in(folder / HUGGING_FACE_CONFIG).get("model_type") not in (None, "clip")


def _json_in(file: Path) -> Mapping[str, Any]:
    """A config; empty if there is none that can be read, which the reader of its format says."""
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _text_entry(config: Mapping[str, Any], entry: str) -> str | None:
    """What a config's `text_cfg` says under this name, if it is text."""
    for section in ("model_cfg", "text_cfg"):
        inner = config.get(section, config if section == "model_cfg" else {})
        config = inner if isinstance(inner, dict) else {}
    value = config.get(entry)
    return value if isinstance(value, str) and value else None


def _may_be_repository(reference: str) -> bool:
    return bool(_REPOSITORY.fullmatch(reference)) and not reference.endswith(_SUFFIXES_OF_FILES)


def _require_extra(name: str) -> None:
    is_tag = name.partition("@")[0] in {model.name for model in known_models()}
    needed = ("huggingface_hub", "open_clip") if is_tag else ("huggingface_hub",)
    if any(find_spec(module) is None for module in needed):
        raise ModelNotFoundError(
            f"The model {name!r} comes from the Hugging Face hub; install {EXTRA}, or give the "
            "path of a file or folder that exists."
        )
