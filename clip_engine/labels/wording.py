"""Checks of labels that need no model: how they are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from clip_engine.labels.finding import Finding
from clip_engine.tokenizer import clean

QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "\u2018": "\u2019", "«": "»"}
# Answers of a form. They name nothing that a picture could show.
NOT_A_THING = frozenset(
    {
        *("other", "others", "none", "none of these", "none of the above", "something else"),
        *("anything else", "unknown", "unclassified", "misc", "miscellaneous", "n/a", "null"),
    }
)

_ARTICLE = re.compile(r"(an?|the)\s+(?=\S)", re.IGNORECASE)
_ARTICLE_BEFORE_LABEL = re.compile(r"\b(an?|the)\s+\{\}", re.IGNORECASE)
_UNDERSCORE = re.compile(r"(?<=[^\W_])_+(?=[^\W_])")


def normalised(text: str) -> str:
    r"""A text without the differences that people don't see: case, spaces, Unicode's forms.

    It is empty if there is nothing to see.

    >>> normalised("  Cafe\u0301\u200b  NOIR "), normalised("\u200b ")
    ('café noir', '')
    """
    compatible = unicodedata.normalize("NFKC", clean(text)).casefold()
    words = "".join(letter for letter in compatible if not _is_invisible(letter)).split()
    return unicodedata.normalize("NFKC", " ".join(words))


def check_wording(
    texts: Sequence[str], keys: Sequence[str], templates: Sequence[str]
) -> Iterator[Finding]:
    """Find labels that are blank, or written for a program or a form instead of a caption.

    Args:
        texts: The labels, as they stand in the prompts.
        keys: The same, `normalised`.
        templates: Of the prompts.
    """
    article_before = all(map(_ARTICLE_BEFORE_LABEL.search, templates))
    for index, (text, key) in enumerate(zip(texts, keys, strict=True)):
        if not key:
            yield Finding(index, "blank", "has no visible character", "remove it")
            continue
        yield from _as_written(index, text.strip())
        if article_before and (article := _ARTICLE.match(text.strip())):
            shorter = text.strip()[article.end() :]
            reason = f"begins with an article, which the template {templates[0]!r} has already"
            yield Finding(index, "wording", reason, f"write {shorter!r}")


def _is_invisible(letter: str) -> bool:
    """Whether it is a control character, or one of no width; spaces are neither."""
    return unicodedata.category(letter)[0] == "C" and not letter.isspace()


def check_duplicates(paths: Sequence[Sequence[str]], keys: Sequence[str]) -> Iterator[Finding]:
    """Find labels that repeat an earlier one, or differ from it only as `normalised` ignores.

    Args:
        paths: The names in each label; without a hierarchy, one.
        keys: What stands in the prompts, `normalised`.
    """
    first: dict[str, int] = {}
    for index, (path, key) in enumerate(zip(paths, keys, strict=True)):
        other = first.setdefault(key, index)
        if other != index and key:
            yield _duplicate(index, other, path, paths[other])


def _duplicate(index: int, other: int, path: Sequence[str], earlier: Sequence[str]) -> Finding:
    if path == earlier:
        reason, remedy = "repeats", "remove one of the two"
    elif list(map(normalised, path)) == list(map(normalised, earlier)):
        reason = "differs only in case, spaces or Unicode form from"
        remedy = "remove one of the two"
    else:
        reason = "has the same last name, and thus the same prompt, as"
        remedy = "give them different last names, as in 'baseball bat'"
    return Finding(index, "duplicate", reason, remedy, other)


def _as_written(index: int, text: str) -> Iterator[Finding]:
    if text.casefold() in NOT_A_THING:
        yield Finding(
            index,
            "wording",
            "names nothing that a picture could show, and its probability means nothing",
            "remove it and ask for none_of_these",
        )
    elif QUOTES.get(text[0]) == text[-1] and len(text) > 2:
        reason = "is in quotation marks, which the model reads as part of it"
        yield Finding(index, "wording", reason, f"write {text[1:-1].strip()!r}")
    elif text[0] == "#" and text.lstrip("# "):
        reason = "begins with #, which the model reads as part of it"
        remedy = f"write {text.lstrip('# ')!r}, or '# ' for a comment"
        yield Finding(index, "wording", reason, remedy)
    elif _UNDERSCORE.search(text):
        reason = "has underscores, as names in programs have and captions don't"
        yield Finding(index, "wording", reason, f"write {_UNDERSCORE.sub(' ', text)!r}")
