"""Turns an evaluation into the tables of the model card."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping

from demo_model.evaluation import Evaluation, Score, WeakSpot

BEGIN = "<!-- written by scripts/evaluate_demo_model.py -->"
END = "<!-- end -->"


def tables(evaluation: Evaluation) -> str:
    """The figures as Markdown."""
    main = {
        "held-out compositions": evaluation.held_out,
        "compositions seen in training, new pictures": evaluation.seen,
    }
    sections = [
        textwrap.fill(f"In short: {headline(evaluation)}.", width=98),
        "Six attributes right at once, among the descriptions of all compositions:",
        _score_table("pictures of", main),
        "Each attribute of the best description, held-out compositions:",
        _table(
            ("attribute", "right"), ((a, _percent(s)) for a, s in evaluation.attributes.items())
        ),
        "By what the picture shows, held-out compositions, all descriptions:",
        _score_table("pictures with", evaluation.groups),
        "Where most mistakes were made, held-out compositions, all descriptions:",
        _spot_table(evaluation.weak_spots),
        "Short labels in the template `a photo of a {}.`, held-out compositions:",
        _score_table("labels tell", evaluation.questions),
        "Other templates, held-out compositions, all descriptions:",
        _score_table("template", {f"`{t}`": s for t, s in evaluation.templates.items()}),
        "Other sizes and compression, held-out compositions, all descriptions:",
        _score_table("file", evaluation.files),
    ]
    return "\n\n".join(sections)


def headline(evaluation: Evaluation) -> str:
    """What the model card says: the main figure, how sure it is, and the weak spot."""
    score, worst = evaluation.held_out, evaluation.weak_spots[0]
    return (
        f"of {score.labels:,} descriptions it finds the right one for {_percent(score.top1)} of "
        f"{score.pictures:,} pictures whose colour, texture and shape it never saw together (95 % "
        f"interval: {_interval(score)}); its weak spot is the {worst.shows}, which it reads as "
        f"{worst.mostly_read_as} in {worst.times} of {worst.pictures} pictures"
    )


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
        (
            name,
            _percent(s.top1),
            _interval(s),
            _percent(1 / s.labels),
            f"{s.labels:,}",
            f"{s.pictures:,}",
        )
        for name, s in scores.items()
    )
    return _table((title, "top-1", "95 % interval", "chance", "labels", "pictures"), rows)


def _spot_table(spots: Iterable[WeakSpot]) -> str:
    rows = (
        (
            spot.shows,
            f"{spot.wrong:,} ({_percent(spot.wrong / spot.pictures)})",
            f"{spot.mostly_read_as}, {spot.times:,} times",
            f"{spot.pictures:,}",
        )
        for spot in spots
    )
    return _table(("pictures show a", "wrong", "mostly read as", "pictures"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(score: Score) -> str:
    return f"{100 * score.low:.2f} to {100 * score.high:.2f} %"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if share >= 0.001 else f"{100 * share:.4f} %"
