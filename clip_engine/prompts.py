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
    """All named ensembles, from name to templates.

    `photo` is the default template alone. `imagenet` and `imagenet-simple` are the 80 templates of
    the CLIP notebook "Prompt Engineering for ImageNet" and the 7 that it chose among them. A label
    costs as many passes of the text tower as there are templates, the first time.
    """
    data = resources.files("clip_engine").joinpath("data", "ensembles.json").read_text("utf-8")
    stored = {name: tuple(templates) for name, templates in json.loads(data).items()}
    return MappingProxyType({"photo": (DEFAULT_TEMPLATE,), **stored})


def ensemble(name: str) -> tuple[str, ...]:
    """The templates of a named ensemble.

    >>> ensemble("photo")
    ('a photo of a {}.',)

    Raises:
        InputError: There is none of this name.
    """
    try:
        return ensembles()[name]
    except KeyError:
        raise InputError(
            f"There is no ensemble {name!r}; the names are {', '.join(ensembles())}."
        ) from None


def fill(template: str, label: str) -> str:
    """Put a label where the template has its placeholder.

    >>> fill("a photo of a {}.", "cat")
    'a photo of a cat.'
    """
    return template.replace(PLACEHOLDER, label)


def check_templates(templates: Iterable[str]) -> tuple[str, ...]:
    """Give the templates back if each has exactly one placeholder.

    Raises:
        InputError: There is none, one is no text, or one has no placeholder or several.
    """
    try:
        checked = tuple(templates)
    except TypeError as error:
        raise InputError(f"The templates are {quoted(templates)}; give a list of texts.") from error
    if not checked:
        raise InputError(f"There is no template; give at least one, such as {DEFAULT_TEMPLATE!r}.")
    for template in checked:
        if not isinstance(template, str):
            raise InputError(f"The template {quoted(template)} is no text; give a str.")
        if template.count(PLACEHOLDER) != 1:
            raise InputError(
                f"The template {template!r} has {template.count(PLACEHOLDER)} placeholders; give "
                f"exactly one {PLACEHOLDER}, as in {DEFAULT_TEMPLATE!r}."
            )
    return tuple(str(template) for template in checked)  # of a NumPy array's, Python's own str
