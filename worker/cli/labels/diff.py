"""`clip-worker labels diff`: what changed between two label sets, or two versions of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import click

from clip_worker.contract import LabelSet
from clip_worker.redis.error_translation import translated
from worker.cli.labels.sets import label_sets
from worker.cli.options import redis_url_option, text
from worker.cli.output.table import printable

DIFFERENT = 1  # exit status, as of diff(1)
WHOLE = ("hierarchical", "templates", "score", "calibration")


@click.command("diff")
@click.argument("old", type=text, metavar="OLD")
@click.argument("new", type=text, metavar="NEW")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@redis_url_option
def command(old: str, new: str, redis_url: str, *, as_json: bool) -> int:
    """Show which labels, thresholds and templates differ from OLD to NEW, as animals@3 animals@4.

    The exit status is 0 if nothing differs, 1 if something does, 2 for invalid input.
    """
    with translated(redis_url), label_sets(redis_url) as sets:
        found = difference(sets.read(old), sets.read(new))
    if as_json:
        click.echo(json.dumps(found))
    else:
        for line in _lines(found):
            click.echo(printable(line))
    return DIFFERENT if found else 0


def difference(old: LabelSet, new: LabelSet) -> dict[str, Any]:
    """What differs, by name; of what changed the old and the new value.

    >>> difference(LabelSet(labels=("cat", "dog")), LabelSet(labels=("cat", "bird")))
    {'added': ['bird'], 'removed': ['dog']}
    """
    before, after = _thresholds(old), _thresholds(new)
    common = [label for label in new.labels if label in before]
    changes = {
        "added": [label for label in new.labels if label not in before],
        "removed": [label for label in old.labels if label not in after],
        "moved": common != [label for label in old.labels if label in after],
        "thresholds": {
            label: [before[label], after[label]]
            for label in common
            if before[label] != after[label]
        },
    }
    first, second = _whole(old), _whole(new)
    changes |= {name: [first[name], second[name]] for name in WHOLE if first[name] != second[name]}
    return {name: change for name, change in changes.items() if change}


def _thresholds(label_set: LabelSet) -> dict[str, float | None]:
    return dict(zip(label_set.labels, label_set.thresholds or repeat(None), strict=False))


def _whole(label_set: LabelSet) -> dict[str, Any]:
    """What is said of all labels together; of a calibration its id."""
    return {
        "hierarchical": label_set.hierarchical,
        "templates": list(label_set.templates) if label_set.templates else None,
        "score": label_set.score,
        "calibration": label_set.calibration.id if label_set.calibration else None,
    }


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for label in found.get("removed", ()):
        yield f"- {label}"
    for label in found.get("added", ()):
        yield f"+ {label}"
    for label, (before, after) in found.get("thresholds", {}).items():
        yield f"~ {label}: threshold {_shown(before)} -> {_shown(after)}"
    if found.get("moved"):
        yield "~ the order of the labels"
    for name in WHOLE:
        if name in found:
            before, after = found[name]
            yield f"~ {name}: {_shown(before)} -> {_shown(after)}"


def _shown(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
