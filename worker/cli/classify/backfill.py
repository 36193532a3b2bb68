"""`clip-worker classify --from`: classifies all images of a place, and can be continued."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clip_worker.bulk.failures import FailuresFile
from clip_worker.bulk.journal import Journal
from clip_worker.bulk.run import BulkRun
from clip_worker.bulk.supply import FailedSupply, FeedSupply, Supply
from clip_worker.feeds.open_feed import open_feed
from clip_worker.quoting import quote, shown_uri
from clip_worker.sinks.open import open_sink
from worker.cli.classify.backfill_options import ALL, BackfillOptions
from worker.cli.classify.run_view import RunView
from worker.cli.labels.counted import counted
from worker.cli.output.progress_line import ProgressLine
from worker.cli.output.screen import Screen
from worker.cli.output.usage_error import say
from worker.cli.stop_signals import stopping

if TYPE_CHECKING:
    from clip_worker import Client

INTERRUPTED_STATUS = 130
LEAST_URGENT = 9  # what people wait for overtakes a backfill in the queue


def backfill(
    client: Client,
    options: BackfillOptions,
    request: Mapping[str, Any],
    *,
    tenant: str | None,
    timeout_s: float,
) -> int:
    """Classify all that is left.

    Args:
        client: Sends the images.
        options: From where, to where.
        request: Options of the request.
        tenant: Whose images they are; it changes no answer, so a run may continue with another.
        timeout_s: Longest wait for the next result, in seconds.

    Returns:
        Exit status: 0; 1 if images have failed; 130 if a signal stopped it.
    """
    feed = open_feed(options.source, column=options.column, root=options.root)
    sink = open_sink(options.target, table=options.table)
    settings = {**options.settings(), **request, **_label_set_version(client, request)}
    with Journal(options.journal, settings) as journal:
        supplies: list[Supply] = [] if journal.is_complete else [FeedSupply(feed, journal)]
        if options.retry:
            supplies.append(FailedSupply(journal, only_passing=options.retry != ALL))
        if journal.done or journal.failed:
            say(f"{_state(journal)}: {_results(journal)}.")
        for supply in supplies:
            screen = Screen.of(sys.stderr)
            with ProgressLine(screen, "classifying") as line:
                run = BulkRun(
                    client,
                    sink,
                    journal,
                    FailuresFile(options.failures),
                    options={**request, "priority": LEAST_URGENT, "tenant": tenant},
                    on_progress=RunView(line, is_terminal=screen.is_terminal),
                    timeout_s=timeout_s,
                )
                with stopping(run.stop):
                    is_finished = run.run(supply)
            if not is_finished:
                say(f"Stopped: {_results(journal)}. Run the same command again to continue.")
                return INTERRUPTED_STATUS
        _summarise(journal, options)
        return 1 if journal.failed else 0


def _label_set_version(client: Client, request: Mapping[str, Any]) -> dict[str, Any]:
    """Of a stored label set, whose labels may change: what a run was begun with."""
    if "label_set" not in request:
        return {}
    return {"a label set of version": client.get_label_set(request["label_set"]).version}


def _summarise(journal: Journal, options: BackfillOptions) -> None:
    if not (journal.done or journal.failed):
        say(f"There are no images in {shown_uri(options.source)}; nothing was done.")
        return
    say(f"{_results(journal)} in {shown_uri(options.target)}.")
    if not journal.failed:
        return
    codes = Counter(record["code"] for record in journal.failures())
    by_code = ", ".join(f"{count:,} {code}" for code, count in codes.most_common())
    say(
        f"{counted(journal.failed, 'image')} failed ({by_code}); {quote(str(options.failures))} "
        "lists them. Run the same command with --retry-failed to send those again that may "
        "succeed."
    )


def _state(journal: Journal) -> str:
    path = quote(str(journal.path))
    if journal.is_complete:
        return f"The run of {path} is complete (to begin again, delete it and the output)"
    return f"Continuing {path}"


def _results(journal: Journal) -> str:
    return f"{counted(journal.done, 'image')} {'has' if journal.done == 1 else 'have'} results"
