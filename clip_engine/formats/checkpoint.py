"""A checkpoint that was read: everything that an engine needs, in one layout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from clip_engine.errors import CheckpointError
from clip_engine.model import CLIP, Activation, CLIPConfig, Traits, build_model, infer_config
from clip_engine.model.config import OPENAI_TRAITS, StateDict
from clip_engine.normalisation import OPENAI_NORMALISATION, Normalisation

VOCABULARY = 49408  # tokens of CLIP's tokenizer, the only one that this package has


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model's weights, in OpenAI's layout, and what else its files say of it.

    Attributes:
        path: What was asked for: a file or a folder.
        format: What it is, for people.
        files: All files that were read, weights first.
        state: Weights by OpenAI's names, on the CPU, in the dtype they are stored in.
        traits: What the weights don't tell.
        normalisation: Of the pixels.
        sizes: What a config file says of the sizes, by `CLIPConfig`'s names; must be the weights'.
        overrides: What the caller set against the files.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    state: StateDict
    traits: Traits = OPENAI_TRAITS
    normalisation: Normalisation = OPENAI_NORMALISATION
    sizes: Mapping[str, object] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def build(self) -> CLIP:
        """Build the model, in float32, on the CPU, in eval mode.

        Raises:
            CheckpointError: The weights make no CLIP model, another one than the config file says,
                or one for another tokenizer.
        """
        try:
            config = infer_config(self.state, self.traits)
            self._check_sizes(config)
            self._check_vocabulary(config)
            return build_model(self.state, self.traits)
        except CheckpointError as error:
            raise CheckpointError(f"{str(self.path)!r}: {error}") from error

    def with_activation(self, activation: Activation) -> Checkpoint:
        """The same with this activation, whatever its files say or leave unsaid."""
        if activation == self.traits.activation:
            return self
        traits = replace(self.traits, activation=activation)
        return replace(self, traits=traits, overrides=(f"activation={activation}",))

    def digest(self) -> str:
        """SHA-256 in hexadecimal: of the file, or of the digests of all files and of overrides.

        Whatever changes an answer changes the digest, for features are cached under it.
        """
        digests = [file_digest(file) for file in self.files]
        if len(digests) == 1 and not self.overrides:
            return digests[0]
        return hashlib.sha256("\n".join([*digests, *self.overrides]).encode()).hexdigest()

    def _check_sizes(self, config: CLIPConfig) -> None:
        wrong = [
            f"{name} is {told} there and {getattr(config, name)} here"
            for name, told in self.sizes.items()
            if told != getattr(config, name)
        ]
        if wrong:
            raise CheckpointError(
                f"The config file {self.files[-1].name!r} is another model's than the weights "
                f"({'; '.join(wrong)}); put the two files of one model together."
            )

    def _check_vocabulary(self, config: CLIPConfig) -> None:
        if config.vocab_size != VOCABULARY:
            raise CheckpointError(
                f"The text tower knows {config.vocab_size} tokens, so it was trained with another "
                f"tokenizer than CLIP's, which has {VOCABULARY}; give a model that uses CLIP's."
            )


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
