from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from clip_worker.errors import InvalidRequestError
from clip_worker.sinks.sink import Sink
from clip_worker.sinks.webhook import WebhookSink
from worker.cli.sink_options import sink_options

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def command(*, required: bool = False) -> click.Command:
    @click.command()
    @sink_options(required=required)
    @click.option("--other")
    def show(sink: Sink | None, other: str) -> None:
        """Show it."""
        click.echo(f"{type(sink).__name__} {other}")

    return show


def printed(*arguments: str) -> str:
    return CliRunner().invoke(command(), arguments, catch_exceptions=False).output


def test_a_command_gets_its_sink_and_its_other_options() -> None:
    assert printed("--to", "r.jsonl", "--other", "x") == "JsonlSink x\n"
    assert printed() == "NoneType None\n"
    assert "--to PLACE" in printed("--help")


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_WORKER_WEBHOOK_SECRET", SECRET)
    assert printed("--to", "https://example.com/") == f"{WebhookSink.__name__} None\n"


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="names no place for results"):
        printed("--to", "results.csv")


def test_a_place_may_be_required() -> None:
    result = CliRunner().invoke(command(required=True), [])
    assert result.exit_code == 2
    assert "--to" in result.output
