"""Prompt templates: what stands around a label before the text tower reads it.

Radford et al. 2021, section 3.1.4: a template closes much of the gap between bare labels and
captions, and the mean over several templates gains more.
"""

from __future__ import annotations

from collections.abc import Sequence

from clip_engine.errors import InputError

DEFAULT_TEMPLATE = "a photo of a {}."
PLACEHOLDER = "{}"


def fill(template: str, label: str) -> str:
    """Put a label where the template has its placeholder.

    >>> fill("a photo of a {}.", "cat")
    'a photo of a cat.'
    """
    return template.replace(PLACEHOLDER, label)


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Give the templates back if each has exactly one placeholder.

    Raises:
        InputError: There is none, or one has no placeholder or several.
    """
    if not templates:
        raise InputError(f"There is no template; give at least one, such as {DEFAULT_TEMPLATE!r}.")
    for template in templates:
        if template.count(PLACEHOLDER) != 1:
            raise InputError(
                f"The template {template!r} has {template.count(PLACEHOLDER)} placeholders; give "
                f"exactly one {PLACEHOLDER}, as in {DEFAULT_TEMPLATE!r}."
            )
    return tuple(templates)
