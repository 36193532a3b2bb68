"""`clip-worker tune`: finds the settings that are fastest here, on the user's images and labels."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from clip_engine.errors import ClipEngineError
from clip_engine.weights.locate import locate_model
from clip_worker.contract import RequestOptions, parse
from clip_worker.errors import ServiceError
from worker.cli.demo.signals import Interrupted, Interrupts
from worker.cli.label_file import read_label_file
from worker.cli.labels.ensembles import ensemble_named
from worker.cli.labels.options import (
    ensemble_option,
    model_option,
    template_option,
    templates_of,
)
from worker.cli.options import json_lines_option, text
from worker.cli.output.screen import Screen
from worker.cli.output.usage_error import WrongInputError, say
from worker.cli.tune.decision import decide, known_precisions
from worker.cli.tune.images import sample_images
from worker.cli.tune.progress import Progress
from worker.cli.tune.report import Report, base_name
from worker.cli.tune.settings_file import check_output
from worker.cli.tune.subject import SubjectError, Task
from worker.cli.tune.tuning import USUAL_S, Plan, Tuning
from worker.runtime.download_progress import download_progress
from worker.settings import Settings, SettingsError
from worker.variables import ENV_PREFIX

QUICK_S = 60.0
SAMPLE = 512
QUICK_SAMPLE = 64
MOST_VALUES = 20_000_000  # images times labels: their probabilities take four bytes each
LEAST_SAMPLE = 32
MAX_CHANGE = 0.01


@click.command("tune")
@click.option(
    "--pictures",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    required=True,
    help="Folder of your images; it is searched recursively.",
)
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="File of your labels: one per line, CSV or JSON (docs/labels.md).",
)
@template_option
@ensemble_option
@model_option
@click.option("--device", type=text, help="As CLIP_WORKER_DEVICE.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(known_precisions()),
    multiple=True,
    help="Try this one only; may be given several times. [all that suit the device]",
)
@click.option(
    "--max-change",
    type=click.FloatRange(0, 1),
    default=MAX_CHANGE,
    show_default=True,
    help="Largest change of a probability, compared with float32, of what is recommended.",
)
@click.option("--quick", is_flag=True, help="About one minute, and at most 64 images.")
@click.option(
    "--time",
    "total_s",
    type=click.FloatRange(10, 86_400),
    metavar="SECONDS",
    help=f"How long it may take, about. [{USUAL_S:g}]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("clip-worker.env"),
    show_default=True,
    help="Settings file to write.",
)
@click.option("--force", is_flag=True, help="Replace the settings file.")
@json_lines_option
def command(  # noqa: PLR0913  # one argument per option
    folder: Path,
    labels_file: Path,
    *,
    templates: tuple[str, ...],
    ensemble: str | None,
    model: str | None,
    device: str | None,
    precisions: tuple[str, ...],
    max_change: float,
    quick: bool,
    total_s: float | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> int:
    """Measure settings of a worker with your images and labels, and recommend the fastest.

    Precisions, sizes of batches, numbers of preparation processes, replicas and workers are tried
    in turn, each in processes of its own, without Redis. The best one runs against the present
    settings once more, in turns, before it is recommended. The settings file has environment
    variables, for Docker Compose, systemd or a shell.

    The worker's other settings are those of the environment, CLIP_WORKER_MODEL for instance. Ctrl-C
    ends it, and prints what was measured so far. The exit status is 2 for invalid input.
    """
    check_output(output, force=force)
    given = {"model": model, "device": device}
    settings = _settings(given)
    options = {ENV_PREFIX + name.upper(): value for name, value in given.items() if value}
    prompts = templates_of(templates, ensemble, ensemble_named)
    labels = tuple(line.label for line in read_label_file(labels_file))
    parse(RequestOptions, {"labels": list(labels)})
    most = min(QUICK_SAMPLE if quick else SAMPLE, max(LEAST_SAMPLE, MOST_VALUES // len(labels)))
    images, found = sample_images(folder, most)
    _download(settings)
    say(f"measuring with {len(images):,} of {found:,} images and {len(labels):,} labels.")
    with tempfile.TemporaryDirectory(prefix="clip-worker-tune-") as temporary:
        task = Task(
            # Only the images of the sample are ever asked for.
            os.environ | options | {f"{ENV_PREFIX}FILE_ROOTS": folder.absolute().anchor},
            settings.workers or 1,
            labels,
            prompts,
            tuple(images),
            Path(temporary),
        )
        plan = Plan.within(total_s or (QUICK_S if quick else USUAL_S))
        report = Report(base_name(settings), output, options, as_json=as_json)
        return _run(task, plan, report, precisions or known_precisions(), max_change)


def _run(
    task: Task, plan: Plan, report: Report, precisions: Sequence[str], max_change: float
) -> int:
    """Measure, report and write; the exit status."""
    progress = Progress(Screen.of(sys.stderr), plan.total_s)
    with Interrupts() as interrupts:
        tuning = Tuning(
            task, plan, base=report.base, progress=progress.update, held=interrupts.held
        )
        try:
            with progress, interrupts.raising():
                decision = decide(tuning, precisions, max_change)
        except Interrupted as interrupted:
            report.print_measured(tuning)
            say("interrupted; no settings file was written.")
            return interrupted.exit_status
        except SubjectError as error:
            raise ServiceError(f"The {report.base} can't be measured. {error}") from error
    report.print_measured(tuning)
    report.print_decision(tuning, decision)
    return 0


def _settings(given: Mapping[str, str | None]) -> Settings:
    """Of the environment, with these ones going before.

    Raises:
        WrongInputError: All that are wrong.
    """
    try:
        return Settings.load(**given)
    except SettingsError as error:
        raise WrongInputError(str(error)) from error


def _download(settings: Settings) -> None:
    """Have the weights in their cache before the first worker starts.

    Raises:
        WrongInputError: There is no such model, or it can't be downloaded.
    """
    try:
        with download_progress() as progress:
            locate_model(
                settings.model,
                settings.cache_dir,
                progress,
                mirror=settings.mirror,
                offline=settings.offline,
            )
    except ClipEngineError as error:
        raise WrongInputError(str(error)) from error
