from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

from support.sink_rows import failed_row, row

from clip_worker.sinks.record import Record, plain_value, record, record_json


def test_a_record_has_the_best_label_and_all_others() -> None:
    assert record(row(7, none_of_these=0.1)) == {
        "key": "photo-000007.jpg",
        "image": "https://example.com/photo-000007.jpg",
        "status": "ok",
        "label": "cat",
        "probability": 0.75,
        "predictions": [
            {"label": "cat", "probability": 0.75, "index": 0},
            {"label": "dog", "probability": 0.25, "index": 1},
        ],
        "none_of_these": 0.1,
        "model": "tiny",
        "model_digest": "ab" * 32,
        "fields": {"number": 7},
        "ended_at": "2025-11-27T17:12:12.250000Z",
    }


def test_a_failure_has_its_code_and_no_label() -> None:
    stored = record(failed_row())

    assert stored["status"] == "error"
    assert stored["error"]["code"] == "FETCH_404"
    assert not {"label", "predictions", "model"} & set(stored)


def test_a_result_without_predictions_has_no_label() -> None:
    given = row()
    assert given.outcome.result is not None
    result = given.outcome.result.model_copy(update={"predictions": ()})
    outcome = given.outcome.model_copy(update={"result": result})

    stored = record(type(given)(given.item, outcome, given.ended_at))

    assert stored["predictions"] == []
    assert "label" not in stored


def test_json_is_one_line_that_reads_back_as_the_same_record() -> None:
    given = row(fields={"title": "two\nlines", "size": None})
    line = record_json(given)

    assert "\n" not in line
    assert json.loads(line) == record(given)
    assert Record.model_validate_json(line) == Record.of(given)


def test_columns_of_any_kind_become_json() -> None:
    columns = {
        "day": date(2026, 11, 27),
        "at": datetime(2026, 11, 27, 17, tzinfo=UTC),
        "price": Decimal("9.90"),
        "nan": float("nan"),
        "nested": [{"a": (1, True, None)}],
        "raw": b"\xff",
        "text": "a\0b\ud83d",
    }

    assert plain_value(columns) == {
        "day": "2026-11-27",
        "at": "2026-11-27T17:00:00+00:00",
        "price": "9.90",
        "nan": None,
        "nested": [{"a": [1, True, None]}],
        "raw": "/w==",
        "text": "a\ufffdb\\ud83d",
    }
    assert json.loads(record_json(row(fields=columns)))["fields"] == plain_value(columns)
