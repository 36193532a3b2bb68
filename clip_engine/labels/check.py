"""Checks a list of labels before pictures are asked about.

Axes: L labels, T tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clip_engine.errors import TextTooLongError
from clip_engine.label_cache import LabelFeatures
from clip_engine.labels.finding import Finding
from clip_engine.labels.near_synonyms import check_near_synonyms
from clip_engine.labels.paths import check_paths, parts_of
from clip_engine.labels.wording import check_duplicates, check_wording, normalised
from clip_engine.prompts import DEFAULT_TEMPLATE, fill

if TYPE_CHECKING:
    from clip_engine.dual_encoder import DualEncoder
    from clip_engine.engine import Engine

Progress = Callable[[int, int], None]

LABELS_AT_ONCE = 1024
UNFIT = ("blank", "path", "duplicate")  # findings that make a comparison pointless


def check_labels(
    labels: Sequence[str],
    templates: tuple[str, ...] = (DEFAULT_TEMPLATE,),
    *,
    engine: Engine | None = None,
    hierarchical: bool = False,
    progress: Progress | None = None,
) -> list[Finding]:
    """Find the labels whose results would be wrong or divided.

    Args:
        labels: L labels; of a hierarchy, their paths.
        templates: That the labels will be asked with.
        engine: The model that will be asked; None to check only how the labels are written.
        hierarchical: Whether the labels are paths such as `animal > dog`; prompts have the last
            name only.
        progress: Called with the number of labels that the model has read, and L.

    Returns:
        The findings in the order of the labels. A label that another finding condemns is not
        compared with the others.
    """
    paths = list(map(parts_of, labels)) if hierarchical else [(label,) for label in labels]
    texts = [path[-1] for path in paths]
    findings = list(check_paths(labels)) if hierarchical else []
    keys = list(map(normalised, texts))
    findings += check_wording(texts, keys, templates)
    findings += check_duplicates(paths, keys)
    if engine is not None:
        unfit = {finding.index for finding in findings if finding.kind in UNFIT}
        fit = [index for index in range(len(texts)) if index not in unfit]
        findings += _check_by_model(texts, fit, templates, engine, progress)
    return sorted(findings, key=lambda finding: finding.index)


def _check_by_model(
    texts: Sequence[str],
    fit: Sequence[int],
    templates: tuple[str, ...],
    engine: Engine,
    progress: Progress | None,
) -> list[Finding]:
    """Findings about the labels at the positions `fit`."""
    findings = list(check_tokens([texts[index] for index in fit], templates, engine.model))
    unfit = {finding.index for finding in findings}
    encoded = [place for place in range(len(fit)) if place not in unfit]
    findings = [_moved(finding, fit) for finding in findings]
    if len(encoded) > 1:
        fit = [fit[place] for place in encoded]
        features = _features([texts[index] for index in fit], templates, engine, progress)
        similar = check_near_synonyms(features, engine.model.logit_scale)
        findings += [_moved(finding, fit) for finding in similar]
    return findings


def _moved(finding: Finding, positions: Sequence[int]) -> Finding:
    """The finding about a part of a list, with positions in the list."""
    other = None if finding.other is None else positions[finding.other]
    return replace(finding, index=positions[finding.index], other=other)


def check_tokens(
    texts: Sequence[str], templates: tuple[str, ...], model: DualEncoder
) -> Iterator[Finding]:
    """Find labels whose prompts are too long, and labels that a tokenizer can't tell from another.

    Args:
        texts: The labels, as they stand in the prompts.
        templates: Of the prompts.
        model: Whose tokenizer counts.
    """
    first: dict[bytes, int] = {}
    for start in range(0, len(texts), LABELS_AT_ONCE):
        chunk = texts[start : start + LABELS_AT_ONCE]
        for index, row in enumerate(_tokens(chunk, templates, model), start):
            if isinstance(row, TextTooLongError):
                reason = f"is too long: {str(row)[:1].lower()}{str(row).rpartition(';')[0][1:]}"
                yield Finding(index, "too-long", reason, "shorten the label or the template")
            elif (other := first.setdefault(row, index)) != index:
                reason = "has, to this model's tokenizer, the same tokens as"
                yield Finding(index, "duplicate", reason, "remove one of the two", other)


def _tokens(
    texts: Sequence[str], templates: tuple[str, ...], model: DualEncoder
) -> list[bytes | TextTooLongError]:
    """The tokens of each text's first prompt, or the error of a prompt that is too long."""
    try:
        rows = [model.tokenize([fill(template, text) for text in texts]) for template in templates]
    except TextTooLongError as error:
        if len(texts) == 1:
            return [error]
        return [row for text in texts for row in _tokens([text], templates, model)]
    return [row.numpy().tobytes() for row in rows[0]]


def _features(
    texts: Sequence[str],
    templates: tuple[str, ...],
    engine: Engine,
    progress: Progress | None,
) -> Tensor:
    """The labels' features, float32 `[L, D]`; they don't go to the engine's cache."""
    encode = LabelFeatures(engine.texts.encode, capacity=0)
    at_once = max(1, LABELS_AT_ONCE // len(templates))
    features = []
    for start in range(0, len(texts), at_once):
        features.append(encode.get(texts[start : start + at_once], templates))
        if progress is not None:
            progress(min(start + at_once, len(texts)), len(texts))
    return torch.cat(features)
