"""Prompt templates: the text around a label that the text tower encodes.

Radford et al. 2021, section 3.1.4: a template closes much of the gap between bare labels and
captions, and the mean over several templates, an ensemble, gains more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from clip_engine.errors import InputError
from clip_engine.quoting import quoted

DEFAULT_TEMPLATE = "a photo of a {}."
PLACEHOLDER = "{}"


@cache
def ensembles() -> Mapping[str, tuple[str, ...]]:
    """The templates of all named ensembles, by name.

    `photo` is the default template alone. `imagenet` and `imagenet-simple` are the 80 templates of
    the CLIP notebook "Prompt Engineering for ImageNet" and the 7 that it selects from them. A new
    label has to be encoded once for each template.
    """
    data = resources.files("clip_engine").joinpath("data", "ensembles.json").read_text("utf-8")
    stored = {name: tuple(templates) for name, templates in json.loads(data).items()}
    return MappingProxyType({"photo": (DEFAULT_TEMPLATE,), **stored})


def ensemble(name: str) -> tuple[str, ...]:
    """The templates of a named ensemble.

    >>> ensemble("photo")
    ('a photo of a {}.',)

    Raises:
        InputError: The name is unknown.
    """
    try:
        return ensembles()[name]
    except KeyError:
        raise InputError(
            f"Unknown ensemble {name!r}; give one of {', '.join(ensembles())}."
        ) from None


def fill(template: str, label: str) -> str:
    """Replace the template's placeholder by a label.

    >>> fill("a photo of a {}.", "cat")
    'a photo of a cat.'
    """
    return template.replace(PLACEHOLDER, label)


def check_templates(templates: Iterable[str]) -> tuple[str, ...]:
    """Check that each template has exactly one placeholder, and return them as a tuple.

    Raises:
        InputError: There are no templates, or one is not a string with one placeholder.
    """
    try:
        checked = tuple(templates)
    except TypeError as error:
        raise InputError(
            f"Invalid templates {quoted(templates)}; give a list of strings."
        ) from error
    if not checked:
        raise InputError(
            f"There are no templates; give at least one, such as {DEFAULT_TEMPLATE!r}."
        )
    for template in checked:
        if not isinstance(template, str):
            raise InputError(f"The template {quoted(template)} is not a string; give a str.")
        if template.count(PLACEHOLDER) != 1:
            raise InputError(
                f"The template {template!r} has {template.count(PLACEHOLDER)} placeholders; give "
                f"exactly one {PLACEHOLDER}, as in {DEFAULT_TEMPLATE!r}."
            )
    return tuple(str(template) for template in checked)  # plain str, also from a NumPy array
