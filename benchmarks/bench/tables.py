"""Markdown from the figures: a table a section, with n and spread beside each median."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.bench.sample import median, percentile


def end_to_end(data: dict[str, Any]) -> str:
    """Images a second by case and contender, and how they stand to clip-worker's."""
    rows = []
    for case in data.values():
        rates = {name: _rates(found) for name, found in case["contenders"].items()}
        ours, raw = (median(rates.get(name) or [0]) for name in ("clip-worker", "raw engine"))
        for name, found in case["contenders"].items():
            if "error" in found:
                rows.append([case["title"], name, found["error"].partition(":")[0], "", "", ""])
                continue
            middle = median(rates[name])
            times = {
                "clip-worker": f"**{ours / raw:.2f}** of raw" if raw else "",
                "raw engine": "1",
            }.get(name, f"clip-worker {_times(ours, middle)}, raw {_times(raw, middle)}")
            count = f"{len(rates[name])} x {found['tasks']}"
            rows.append([case["title"], name, _figure(middle), _spread(rates[name]), count, times])
    head = [
        "model, image, labels",
        "contender",
        "pictures/s",
        "least to most",
        "rounds x tasks",
        "",
    ]
    return _table(head, _grouped(rows))


def end_to_end_notes(data: dict[str, Any]) -> str:
    """What the images were, and how far the answers agree."""
    sizes = {c["title"].split(", ")[1]: c["picture_bytes"] for c in data.values()}
    listed = ", ".join(f"{size} {count / 1000:,.0f} kB" for size, count in sizes.items())
    differences = [
        found["differs_by"]
        for case in data.values()
        for found in case["contenders"].values()
        if "differs_by" in found
    ]
    return (
        f"JPEGs on average: {listed}. The best label's probability differs between contenders by "
        f"at most {max(differences, default=0):.1g}."
    )


def no_op(data: dict[str, Any]) -> str:
    """Tasks a second and processor time a task."""
    rows = []
    base = _rates(data["contenders"]["celery-batches"])
    for name, found in data["contenders"].items():
        rates = _rates(found)
        cpu = [1e6 * s / found["tasks"] for s in found["cpu_s"]]
        redis = [1e6 * s / found["tasks"] for s in found["redis_cpu_s"]]
        rows.append(
            [
                name,
                f"{median(rates):,.0f}",
                f"{min(rates):,.0f} to {max(rates):,.0f}",
                f"{len(rates)} x {found['tasks']:,}",
                f"{median(rates) / median(base):.1f}",
                f"{median(cpu):,.0f}",
                f"{median(redis):,.0f}",
            ]
        )
    head = [
        "contender", "tasks/s", "least to most", "rounds x tasks", "to celery-batches",
        "worker CPU, µs a task", "Redis CPU, µs a task",
    ]  # fmt: skip
    return _table(head, rows)


def latency(data: dict[str, Any]) -> str:
    """One task on an idle worker, and at each offered load."""
    idle = data["idle"]
    names = {
        "forward_s": "forward pass alone, one image",
        "whole_s": "the engine's whole work: decode, forward, score",
        "own_forward_s": "forward pass as the worker reports it",
        "task_s": "a task, from `classify` to the answer in `get`",
    }
    rows = [
        [title, *_milliseconds(idle[name]), str(len(idle[name]))] for name, title in names.items()
    ]
    over = 1000 * (median(idle["task_s"]) - median(idle["forward_s"]))
    rows.append(["a task over the forward pass alone", f"**{over:+.1f}**", "", "", ""])
    pairs = zip(idle["task_s"], idle["own_forward_s"], strict=True)
    own = [task_s - forward_s for task_s, forward_s in pairs]
    rows.append(["each task over its own forward pass", *_milliseconds(own), str(len(own))])
    first = _table(["on an idle worker", "p50, ms", "p99, ms", "least to most, ms", "n"], rows)
    rows = [
        [
            f"{one['offered'] / data['saturated_rate']:.0%}",
            f"{one['offered']:.1f}",
            f"{one['done']:.1f}",
            *_milliseconds(one["latency_s"]),
            str(len(one["latency_s"])),
        ]
        for one in data["load"]
    ]
    head = ["offered", "tasks/s", "done/s", "p50, ms", "p99, ms", "least to most, ms", "n"]
    return first + "\n\n" + _table(head, rows)


def growth(data: dict[str, Any]) -> str:
    """Cost a task with more of everything, and memory."""
    waiting = [
        [
            f"{row['waiting']:,}",
            f"{median(_costs(row)):.1f}",
            f"{min(_costs(row)):.1f} to {max(_costs(row)):.1f}",
            f"{median(_costs(row)) / median(_costs(data['waiting'][0])) - 1:+.1%}",
            f"{median(row['rate']):,.0f}",
            str(len(row["rate"])),
            f"{max(row['worker_mb']):.0f}",
            f"{row['waiting'] * row['redis_bytes_each'] / 1e6:,.1f}",
        ]
        for row in data["waiting"]
    ]
    workers = [
        [
            str(row["workers"]),
            f"{median(_costs(row)):.1f}",
            f"{min(_costs(row)):.1f} to {max(_costs(row)):.1f}",
            f"{median(row['rate']):,.0f}",
            str(len(row["rate"])),
            f"{median(row['worker_mb']):.0f}",
        ]
        for row in data["workers"]
    ]
    labels = [
        [
            f"{row['labels']:,}",
            f"{median(row['cpu_ms']):.2f}",
            f"{min(row['cpu_ms']):.2f} to {max(row['cpu_ms']):.2f}",
            f"{median(row['rate']):,.0f}",
            f"{len(row['rate'])} x {row['tasks']}",
            f"{row['encoded_s']:.1f}",
            f"{row['worker_mb']:.0f}",
        ]
        for row in data["labels"]
    ]
    return "\n\n".join(
        (
            _table(
                ["messages waiting", "CPU of worker and Redis, µs a task", "least to most",
                 "to the first", "tasks/s", "n", "worker, MB", "messages in Redis, MB"],
                waiting,
            ),
            _table(
                ["worker processes", "CPU of all and Redis, µs a task", "least to most", "tasks/s",
                 "n", "each, MB"],
                workers,
            ),
            _table(
                ["labels (demo model, cached)", "worker CPU, ms an image", "least to most",
                 "pictures/s", "rounds x tasks", "first task, s", "worker, MB"],
                labels,
            ),
            _memory(data),
        )
    )  # fmt: skip


def _memory(data: dict[str, Any]) -> str:
    lasting = data["lasting"]
    steps = [0, len(lasting["tasks"]) // 4, len(lasting["tasks"]) // 2, len(lasting["tasks"]) - 1]
    rows = [
        ["worker (queue path with admission)", f"{lasting['tasks'][i]:,} tasks done",
         f"{lasting['worker_mb'][i]:.1f}"]
        for i in steps
    ]  # fmt: skip
    rows += [
        [
            "Redis of that worker",
            f"{lasting['tasks'][i]:,} tasks done",
            f"{lasting['redis_mb'][i]:.1f}",
        ]
        for i in (0, -1)
    ]
    return (
        _table(["memory of", "when", "resident, MB"], rows) + "\n\n" + _producer(data["producer"])
    )


def _producer(found: Sequence[dict[str, Any]]) -> str:
    rows = []
    for row in found:
        rates = [row["messages"] / seconds for seconds in row["seconds"]]
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        rows.append(
            [
                row["how"],
                f"{row['messages']:,}",
                f"{median(rates):,.0f}",
                spread,
                str(len(rates)),
                f"{max(row['mb']):.1f}",
            ]
        )
    head = ["producer sends", "messages", "messages/s", "least to most", "n", "its peak memory, MB"]
    return _table(head, rows)


def start_up(data: dict[str, Any]) -> str:
    """Seconds to the first answer, and imports."""
    rows = [
        [
            f"`clip-worker start` to the first answer, {name}",
            f"{median(found['seconds']):.2f}",
            f"{min(found['seconds']):.2f} to {max(found['seconds']):.2f}",
            str(len(found["seconds"])),
            f"{median(found['worker_mb']):,.0f}",
        ]
        for name, found in data["starts"].items()
    ]
    rows += [
        [
            f"import of {name}",
            f"{median(found['seconds']):.3f}",
            f"{min(found['seconds']):.3f} to {max(found['seconds']):.3f}",
            str(len(found["seconds"])),
            f"{median(found['mb']):.1f}",
        ]
        for name, found in data["imports"].items()
    ]
    return _table(["what", "seconds", "least to most", "n", "memory, MB"], rows)


def _rates(found: dict[str, Any]) -> list[float]:
    return [found["tasks"] / seconds for seconds in found.get("seconds", [])]


def _costs(row: dict[str, Any]) -> list[float]:
    return [mine + redis for mine, redis in zip(row["cpu_us"], row["redis_cpu_us"], strict=True)]


def _milliseconds(seconds: Sequence[float]) -> tuple[str, str, str]:
    values = [1000 * value for value in seconds]
    return (
        f"{percentile(values, 0.5):.1f}",
        f"{percentile(values, 0.99):.1f}",
        f"{min(values):.1f} to {max(values):.1f}",
    )


def _figure(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _spread(values: Sequence[float]) -> str:
    return f"{_figure(min(values))} to {_figure(max(values))}"


def _times(ours: float, theirs: float) -> str:
    times = ours / theirs
    return f"{times:,.0f}x" if times >= 10 else f"{times:.1f}x"


def _grouped(rows: Sequence[list[str]]) -> list[list[str]]:
    """Say the first column once for each group."""
    shown, last = [], ""
    for first, *rest in rows:
        shown.append([first if first != last else "", *rest])
        last = first
    return shown


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
