"""Google-style docstrings as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from griffe import Docstring, DocstringSectionKind

WIDTH = 98
_ROLES = {
    DocstringSectionKind.parameters: "Arguments",
    DocstringSectionKind.attributes: "Attributes",
    DocstringSectionKind.raises: "Raises",
    DocstringSectionKind.returns: "Returns",
    DocstringSectionKind.yields: "Yields",
}


def markdown(docstring: Docstring | None) -> str:
    """Return a docstring's text and lists."""
    if docstring is None:
        return ""
    sections = docstring.parse("google", warnings=False)
    return "\n\n".join(text for each in sections for text in _section(each))


def described(docstring: str) -> tuple[str, dict[str, str]]:
    """Return a docstring's first paragraph, and what it says of each attribute."""
    sections = Docstring(docstring).parse("google", warnings=False)
    attributes: dict[str, str] = {}
    for section in sections:
        if section.kind is DocstringSectionKind.attributes:
            attributes = {item.name: _flat(item.description) for item in section.value}
    return _flat(docstring.partition("\n\n")[0]), attributes


def _section(section: Any) -> Iterator[str]:
    if section.kind is DocstringSectionKind.text:
        yield _without_examples(section.value)
    elif section.kind in _ROLES:
        yield f"{_ROLES[section.kind]}:"
        yield "\n".join(_item(each) for each in section.value)


def _item(item: Any) -> str:
    name = getattr(item, "name", "") or getattr(item, "annotation", "")
    text = f"`{name}`: {_flat(item.description)}" if name else _flat(item.description)
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "- " + "\n  ".join(lines)


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _without_examples(text: str) -> str:
    """Return prose; reStructuredText's literal blocks become indented code, as Markdown has it."""
    return re.sub(r"::(?=\n|$)", ":", text).strip()
