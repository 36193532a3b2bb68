"""`clip-worker retag`: classifies stored embeddings with other labels."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clip_worker.bulk.journal import Journal
from clip_worker.quoting import without_secrets
from clip_worker.sinks.open import open_sink
from clip_worker.sinks.sql_table import DEFAULT_TABLE
from worker.cli.classify.request_options import read_request, request_options
from worker.cli.options import redis_url_option, text
from worker.cli.output.progress_line import ProgressLine
from worker.cli.output.screen import Screen
from worker.cli.output.usage_error import WrongInputError, say
from worker.cli.retag.options import model_option, space_option
from worker.variables import ENV_PREFIX

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from clip_worker.bulk.progress import Progress
    from clip_worker.sinks.sink import Sink
    from worker.embeddings.store import EmbeddingStore, Space
    from worker.pipeline.image_task import TaggingRequest
    from worker.pipeline.scoring_plan import ScoringPlan

store_option = click.option(
    "--store",
    type=text,
    metavar="URL",
    required=True,
    envvar=f"{ENV_PREFIX}EMBEDDING_STORE",
    help="Store of embeddings: redis://host/1 or lance:///path.",
)


@click.command("retag")
@store_option
@click.option(
    "--to",
    "target",
    type=text,
    required=True,
    metavar="TARGET",
    help="Where answers go: results.jsonl, results.parquet, sqlite:///..., postgresql://...",
)
@click.option("--table", type=text, default=DEFAULT_TABLE, show_default=True, help="In a database.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File by which an interrupted run continues.  [default: the target's name and .journal]",
)
@request_options
@model_option
@space_option
@redis_url_option
def command(  # noqa: PLR0913  # one argument per option
    *,
    store: str,
    target: str,
    table: str,
    journal: Path | None,
    model: str | None,
    space: str | None,
    redis_url: str,
    **given: Any,
) -> int:
    """Classify all images whose embeddings are stored, with other labels.

    No image is fetched, decoded or encoded: the stored embeddings are multiplied with those of the
    labels. Each image's answer goes to the sink once; a run that was interrupted continues with
    the same command.
    """
    options = read_request(given)
    path = journal or _journal_of(target)
    sink, began_s = open_sink(target, table=table), time.monotonic()
    from worker.cli.labels.engine import loaded_engine
    from worker.cli.retag.engine_errors import engine_errors
    from worker.cli.retag.space import find_space
    from worker.embeddings.open import open_store

    with closing(open_store(store)) as opened, loaded_engine(model) as engine, engine_errors():
        found = find_space(opened, engine, space)
        plan, request = _asked(engine, options, redis_url)
        settings = _settings(plan, options) | {
            "store": without_secrets(store),
            "space": f"{found.model_digest[:12]} {found.preprocessing}",
            "target": _shown(target),
            "table": table,
        }
        with Journal(path, settings) as state:
            _run(opened, found, sink, state, engine=engine, plan=plan, request=request)
            done = state.done
    took_s = time.monotonic() - began_s
    have = "image has its answer" if done == 1 else "images have their answers"
    say(f"{done:,} {have} in {_shown(target)} ({took_s:.1f} s).")
    return 0


def _asked(
    engine: Engine, options: dict[str, Any], redis_url: str
) -> tuple[ScoringPlan, TaggingRequest]:
    """What is asked, with the label set if one is named."""
    from clip_worker.redis.label_sets import LabelSets
    from clip_worker.redis.url import connect
    from worker.pipeline.scoring_plan import ScoringPlanner
    from worker.runtime.job_builder import retag_request
    from worker.runtime.text_feature_assembly import share_text_features
    from worker.settings import Settings

    request = retag_request(options)
    with connect(redis_url) as redis:
        planner = ScoringPlanner(engine, LabelSets(redis))
        plan = planner.of_labels(request) if request.labels else planner.of_label_set(request)
    if plan.label_set:  # its features are there already if workers have encoded it
        share_text_features(Settings.load(redis_url=redis_url), engine)
    return plan, request


def _run(  # noqa: PLR0913  # collaborators, by name
    store: EmbeddingStore,
    space: Space,
    sink: Sink,
    journal: Journal,
    *,
    engine: Engine,
    plan: ScoringPlan,
    request: TaggingRequest,
) -> None:
    from worker.cli.retag.records import RecordWriter
    from worker.cli.retag.run import RetagRun
    from worker.cli.retag.scorer import Scorer
    from worker.runtime.cores import cores

    text_features = engine.text_features([engine.labels.get(*each) for each in plan.lists])
    with ProgressLine(Screen.of(sys.stderr), "re-tag") as line:
        run = RetagRun(
            store,
            space,
            scorer=Scorer(engine, plan, text_features, k=request.k, threads=cores(None)),
            writer=RecordWriter(sink, engine.identity, plan, request.threshold),
            sink=sink,
            journal=journal,
            on_progress=lambda now: line.update(now.ended, now.total or 0, _note(now)),
        )
        try:
            run.run()
        except KeyboardInterrupt:
            say(f"Interrupted; the same command continues (journal {os.fspath(journal.path)}).")
            raise


def _is_file(target: str) -> bool:
    return ":" not in target.partition("/")[0]


def _shown(target: str) -> str:
    """Of a URL without secrets; a file's name may have an `@`, too."""
    return target if _is_file(target) else without_secrets(target)


def _journal_of(target: str) -> Path:
    if not _is_file(target):
        raise WrongInputError(
            f"A run into {without_secrets(target)} needs --journal FILE, by which it continues "
            "after an interruption."
        )
    return Path(f"{target.rstrip('/')}.journal")


def _settings(plan: ScoringPlan, options: dict[str, Any]) -> dict[str, Any]:
    """What a run must have in common with the one that began its journal."""
    texts = hashlib.sha256(repr((plan.labels, plan.lists, plan.thresholds)).encode()).hexdigest()
    used = plan.label_set  # its version says which calibration it has, too
    named = {"label set": f"{used['name']} of version {used['version']}"} if used else {}
    asked = {name: options.get(name) for name in ("k", "score", "none_of_these", "threshold")}
    return named | {"labels": f"{len(plan.labels)} labels {texts[:12]}"} | asked


def _note(progress: Progress) -> str:
    eta_s = progress.eta_s
    left = "" if eta_s is None else f", {eta_s:,.0f} s left"
    return f"{progress.rate:,.0f}/s{left}"
