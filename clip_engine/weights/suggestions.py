"""What to give instead of an unknown model's name."""

from __future__ import annotations

from difflib import get_close_matches

from clip_engine.weights.catalog import PUBLISHED
from clip_engine.weights.known import known_models
from clip_engine.weights.open_clip_tags import all_tags

_LIKENESS = 0.7  # of 1; below it a suggestion is rarely what was meant


def suggestion(name: str) -> str:
    """A sentence: the nearest known name, or else what a name may be."""
    return did_you_mean(name) or (
        f"Give one of demo, {', '.join(PUBLISHED)}; a tag of open_clip such as "
        "ViT-B-16-SigLIP2-256/webli; a repository of the Hugging Face hub such as "
        "openai/clip-vit-base-patch32; or the path of a checkpoint."
    )


def did_you_mean(name: str) -> str:
    """A sentence with the nearest known name; empty if none is near.

    >>> did_you_mean("ViT-B/23")
    "Did you mean 'ViT-B/32'?"
    """
    names = ("demo", *PUBLISHED, *(model.name for model in known_models()), *all_tags())
    known = {known.lower(): known for known in names}
    near = get_close_matches(name.lower(), known, n=1, cutoff=_LIKENESS)
    return f"Did you mean {known[near[0]]!r}?" if near else ""
