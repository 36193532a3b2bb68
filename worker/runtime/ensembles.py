"""From a question to its templates, on the worker's side: there the ensembles' names are known."""

from __future__ import annotations

from clip_engine.prompts import ensembles
from worker.contract import RequestOptions
from worker.errors import InvalidRequestError
from worker.quoting import quote


def templates_of(question: RequestOptions) -> tuple[str, ...]:
    """The templates that a question asks for, by name or in full.

    Raises:
        InvalidRequestError: `UNKNOWN_ENSEMBLE`.
    """
    if question.ensemble is None:
        return question.all_templates
    known = ensembles()
    if question.ensemble not in known:
        raise InvalidRequestError(
            f"There is no ensemble {quote(question.ensemble)}; the worker knows "
            f"{', '.join(known)}.",
            "UNKNOWN_ENSEMBLE",
        )
    return known[question.ensemble]
