"""A checkpoint of any format, converted to one layout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clip_engine.errors import CheckpointError
from clip_engine.formats.preprocessing import Preprocessing
from clip_engine.model import CLIP, Activation, CLIPConfig, Traits, build_model, infer_config
from clip_engine.model.config import OPENAI_TRAITS, StateDict
from clip_engine.weights.layouts import OPEN_CLIP_CONFIG

VOCABULARY = 49408  # tokens of CLIP's tokenizer, the only one in this package


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model's weights in OpenAI's layout, and its other properties.

    Attributes:
        path: The file or folder that was given.
        format: A description of the format, for people.
        files: All files that were read, weights first.
        state: Weights by OpenAI's names, on the CPU, in the dtype in which they are stored.
        traits: What the weights don't determine.
        preprocessing: Of images.
        sizes: Sizes from a config file, by `CLIPConfig`'s names; they must match the weights.
        overrides: What the caller set differently from the files, or beside them.
        has_activation: Whether the files specify the activation; if not, `traits` has OpenAI's.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    state: StateDict
    traits: Traits = OPENAI_TRAITS
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    sizes: Mapping[str, object] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    has_activation: bool = True

    def build(self) -> CLIP:
        """Build the model, in float32, on the CPU, in eval mode.

        Raises:
            CheckpointError: The weights are not a CLIP model's, don't match the config file, or
                belong to another tokenizer.
        """
        try:
            config = infer_config(self.state, self.traits)
            self._check_sizes(config)
            self._check_vocabulary(config)
            return build_model(self.state, self.traits)
        except CheckpointError as error:
            raise CheckpointError(f"{str(self.path)!r}: {error}") from error

    def with_activation(self, activation: Activation | None) -> Checkpoint:
        """A copy with this activation, regardless of the files; None for that of the files.

        Raises:
            CheckpointError: Neither the caller nor the files specify it.
        """
        if activation is None and not self.has_activation:
            self.build()  # what is no CLIP model at all is refused as that
            raise CheckpointError(
                f"{str(self.path)!r} doesn't say whether the model has QuickGELU, like OpenAI's, "
                "or GELU, like most of OpenCLIP's; set the activation (CLIP_WORKER_ACTIVATION, "
                f"quick_gelu or gelu), or put the model's {OPEN_CLIP_CONFIG} beside the file."
            )
        if activation is None or activation == self.traits.activation:
            return self
        traits = replace(self.traits, activation=activation)
        return replace(self, traits=traits, overrides=(*self.overrides, f"activation={activation}"))

    def digest(self) -> str:
        """SHA-256 in hexadecimal: of the file, or of all files' digests and the overrides.

        Anything that changes results changes the digest, because features are cached by it.
        """
        return digest_of(self.files, self.overrides)

    def _check_sizes(self, config: CLIPConfig) -> None:
        wrong = [
            f"{name} is {declared} in the config and {getattr(config, name)} in the weights"
            for name, declared in self.sizes.items()
            if declared != getattr(config, name)
        ]
        if wrong:
            raise CheckpointError(
                f"The config file {self.files[-1].name!r} doesn't match the weights "
                f"({'; '.join(wrong)}); use the two files of one model."
            )

    def _check_vocabulary(self, config: CLIPConfig) -> None:
        if config.vocab_size != VOCABULARY:
            raise CheckpointError(
                f"The text tower has {config.vocab_size} tokens, but CLIP's tokenizer has "
                f"{VOCABULARY}; give a model that was trained with CLIP's tokenizer."
            )


def digest_of(files: Sequence[Path], settings: Sequence[str] = ()) -> str:
    """SHA-256 in hexadecimal of one file; of several files' digests and settings, if there are."""
    digests = [file_digest(file) for file in files]
    if len(digests) == 1 and not settings:
        return digests[0]
    return hashlib.sha256("\n".join([*digests, *settings]).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
