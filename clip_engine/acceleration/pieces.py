"""The pieces by name, and which of them are in use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from clip_engine.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Acceleration:
    """Which pieces are in use; all, unless said otherwise.

    Attributes:
        sdpa: Attention as one fused call instead of two products around a softmax.
        linear_patches: A ViT's first convolution, whose stride is its kernel, as one product.
        folded_gelu: QuickGELU as SiLU, its factor multiplied into the weights around it.
        prepacked: Weights stored in the order in which oneDNN reads them; CPUs only.
        trimmed_text: Texts computed up to the longest one's end mark, not to the whole context.
        shared_prefixes: Beginnings that texts share computed once for all; texts are trimmed then.
        cached_text: A label's feature kept for the next task that brings it.
        pinned_upload: Pixels handed to the GPU from page-locked memory; CUDA only.
        cuda_graphs: Each bucket's forward recorded once and replayed; CUDA only.
    """

    sdpa: bool = True
    linear_patches: bool = True
    folded_gelu: bool = True
    prepacked: bool = True
    trimmed_text: bool = True
    shared_prefixes: bool = True
    cached_text: bool = True
    pinned_upload: bool = True
    cuda_graphs: bool = True

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All pieces."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def without(cls, left_out: Iterable[str]) -> Self:
        """All pieces but these.

        Raises:
            InputError: Naming one that is no piece.
        """
        names = tuple(left_out)
        for name in names:
            if name not in cls.names():
                raise InputError(f"{name!r} is no piece; there are {', '.join(cls.names())}.")
        return cls(**dict.fromkeys(names, False))


PLAIN = Acceleration.without(Acceleration.names())
# What may be done around a model that somebody else goes on using.
AROUND_THE_MODEL = Acceleration.without(("linear_patches", "folded_gelu", "prepacked"))
