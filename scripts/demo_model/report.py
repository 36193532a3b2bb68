"""Turns an evaluation into the tables of the model card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from demo_model.evaluation import Evaluation, Score

BEGIN = "<!-- written by scripts/evaluate_demo_model.py -->"
END = "<!-- end -->"


def tables(evaluation: Evaluation) -> str:
    """The figures as Markdown."""
    main = {
        "held-out compositions": evaluation.held_out,
        "compositions seen in training, new pictures": evaluation.seen,
    }
    sections = [
        "Six attributes right at once, among the descriptions of all compositions:",
        _score_table("pictures of", main),
        "Each attribute of the best description, held-out compositions:",
        _table(
            ("attribute", "right"), ((a, _percent(s)) for a, s in evaluation.attributes.items())
        ),
        "By what the picture shows, held-out compositions, all descriptions:",
        _score_table("pictures with", evaluation.groups),
        "Short labels in the template `a photo of a {}.`, held-out compositions:",
        _score_table("labels tell", evaluation.questions),
        "Other templates, held-out compositions, all descriptions:",
        _score_table("template", {f"`{t}`": s for t, s in evaluation.templates.items()}),
        "Other sizes and compression, held-out compositions, all descriptions:",
        _score_table("file", evaluation.files),
    ]
    return "\n\n".join(sections)


def with_tables(card: str, evaluation: Evaluation) -> str:
    """The card with its tables replaced by this evaluation's.

    Raises:
        ValueError: If the card lacks the marks around its tables.
    """
    if card.count(BEGIN) != 1 or card.count(END) != 1:
        raise ValueError(f"the card must have {BEGIN!r} and {END!r} once each")
    block = f"{BEGIN}\n\n{tables(evaluation)}\n\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, card, flags=re.DOTALL)


def _score_table(title: str, scores: Mapping[str, Score]) -> str:
    rows = (
        (name, _percent(s.top1), _percent(1 / s.labels), f"{s.labels:,}", f"{s.pictures:,}")
        for name, s in scores.items()
    )
    return _table((title, "top-1", "chance", "labels", "pictures"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if share >= 0.001 else f"{100 * share:.4f} %"
