"""Prompts for "none of these", and for what a label is compared with when it is scored alone.

A model that was trained with softmax can say which of several texts fits an image best, but not
whether one text fits. So the labels get texts to compete with: background prompts, the request's
templates filled with words that name nothing in particular; and for each label its negation, the
request's templates with "something other than" before the label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clip_engine.prompts import PLACEHOLDER

# Words that fit any image a little and no image well.
BACKGROUND = ("thing", "object", "scene", "place", "background", "texture", "pattern", "picture")
NEGATION = "something other than "
# Where the noun phrase of a template begins: after the last "of", else at the last article.
_OF = re.compile(r"\bof\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(?=(?:an?|the|my|one)\b)", re.IGNORECASE)


def negated(template: str) -> str:
    """The template for everything but the label.

    >>> negated("a photo of a {}.")
    'a photo of something other than a {}.'
    >>> negated("the plastic {}.")
    'something other than the plastic {}.'
    >>> negated("{}")
    'something other than {}'
    """
    end = template.index(PLACEHOLDER)
    starts = [found.end() for found in _OF.finditer(template, 0, end)]
    starts = starts or [found.end() for found in _ARTICLE.finditer(template, 0, end)]
    start = starts[-1] if starts else end
    return template[:start] + NEGATION + template[start:]


def background(labels: Sequence[str]) -> tuple[str, ...]:
    """The background words that are not labels themselves; all of them if each is a label.

    >>> background(["cat", "Scene", "object"])
    ('thing', 'place', 'background', 'texture', 'pattern', 'picture')
    """
    taken = {label.strip().casefold() for label in labels}
    return tuple(word for word in BACKGROUND if word not in taken) or BACKGROUND
