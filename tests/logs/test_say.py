"""Sentences of the start, as text and as JSON."""

from __future__ import annotations

import json
import logging

from worker.logs.say import say


def test_sentences_have_the_programs_name(capsys, monkeypatch):
    monkeypatch.delenv("CLIP_WORKER_LOG_FORMAT", raising=False)
    say("loading demo ...\nready")

    assert capsys.readouterr().err == "clip-worker: loading demo ...\nclip-worker: ready\n"


def test_sentences_are_json_if_the_log_is(capsys, monkeypatch):
    monkeypatch.setenv("CLIP_WORKER_LOG_FORMAT", "json")
    say("no port", level=logging.CRITICAL)

    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == (
        "CRITICAL",
        "clip-worker",
        "no port",
    )
