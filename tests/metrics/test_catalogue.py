"""The metrics are those that the documentation lists, and no label is a producer's to choose."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from clip_worker import errors
from worker.metrics.catalogue import METRICS
from worker.metrics.codes import OTHER, code_of, label_of

ROOT = Path(__file__).parents[2]
# Raised by clients and commands, or before a worker takes tasks.
NEVER_OF_A_TASK = {
    *("BAD_EMBEDDING_STORE", "BAD_POSITION", "EMBEDDING_STORE"),
    *("BAD_FEED", "BAD_JOURNAL", "BAD_NOTIFICATION", "BAD_PLACE", "BAD_ROW"),
    *("BAD_SINK", "FEED_FAILED", "FEED_UNAVAILABLE", "JOURNAL_FAILED", "JOURNAL_IN_USE"),
    *("NO_BOTOCORE", "NO_LANCEDB", "NO_PYARROW", "NO_WATCHFILES", "SINK_FAILED"),
    *("BAD_DEAD_LETTER", "BAD_EVENT", "BAD_MIRROR", "BAD_REDIS_URL", "BAD_RESULT", "BAD_SETTINGS"),
    *("BAD_SHRINK", "BAD_SIGNATURE", "BAD_TASK_ID", "BAD_WEBHOOK_SECRET", "DEVICE_MISSING"),
    *("METRICS_PORT", "MODEL_UNAVAILABLE", "NOT_REGISTERED", "NOT_STARTED", "NO_PILLOW"),
    *(
        "QUEUE_FULL",
        "QUEUE_UNAVAILABLE",
        "READ_FAILED",
        "REDIS_EVICTS",
        "RESULT_TIMEOUT",
        "WRONG_POOL",
    ),
}


def test_the_documentation_has_exactly_the_metrics_of_the_catalogue() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    listed = [line for line in page.splitlines() if line.startswith("| `clip_worker_")]
    assert listed == [
        f"| `{metric.full_name}` | {metric.kind} | {labels(metric.labels)}| {metric.help} |"
        for metric in METRICS
    ]


def labels(names: tuple[str, ...]) -> str:
    return "".join(f"{'' if i == 0 else ', '}`{name}`" for i, name in enumerate(names)) + (
        " " if names else ""
    )


def test_each_code_that_an_error_is_raised_with_has_a_label_of_its_own() -> None:
    raised = set().union(*(codes_in(path) for path in sources()))
    defaults = {kind.default_code for kind in errors.ClipWorkerError.__subclasses__()}
    unnamed = {code for code in raised | defaults if label_of(code) != code}
    assert unnamed <= NEVER_OF_A_TASK, "name new ones in worker/metrics/codes.py"


def sources() -> list[Path]:
    found = [
        path
        for name in ("clip_engine", "clip_worker", "worker")
        for path in (ROOT / name).rglob("*.py")
    ]
    return [path for path in found if "cli" not in path.parts]


def codes_in(path: Path) -> set[str]:
    """String arguments that look like codes, of calls of classes that are named like errors."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {
        argument.value
        for call in calls
        if re.search(r"(Error|error|_failed|_refused)$", ast.unparse(call.func))
        for argument in call.args[1:]
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", argument.value)
    }


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("BAD_URI", "BAD_URI"),
        ("FETCH_404", "FETCH_404"),
        ("FETCH_599", "FETCH_5xx"),
        ("FETCH_1234", OTHER),
        ("FETCH_٤٠٤", OTHER),
        ("FETCH_", OTHER),
        ("X" * 1000, OTHER),
        ("", OTHER),
    ],
)
def test_a_code_that_is_not_known_shares_a_label(code: str, label: str) -> None:
    assert label_of(code) == label


def test_an_error_that_is_not_ours_has_the_common_label() -> None:
    assert code_of(ValueError("x")) == OTHER
    assert code_of(errors.ImageInvalidError("x.", "DECODE_BROKEN")) == "DECODE_BROKEN"
