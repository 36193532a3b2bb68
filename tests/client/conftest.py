"""A client whose messages stay in this process, as does its Redis."""

from __future__ import annotations

import fakeredis
import pytest
from support.fake_results import FakeResults, FakeTime
from support.sent_messages import SentMessages

from clip_worker import Client


@pytest.fixture
def sent(monkeypatch):
    """What the client sends."""
    sent = SentMessages()
    monkeypatch.setattr("clip_worker.client.parts.Publisher", lambda *_, **__: sent)
    return sent


@pytest.fixture
def client(sent, monkeypatch):
    monkeypatch.setattr("clip_worker.client.parts.connect", lambda *_, **__: fakeredis.FakeRedis())
    with Client() as client:
        yield client


@pytest.fixture
def time(monkeypatch):
    """The time that waiting for results goes by."""
    time = FakeTime()
    monkeypatch.setattr("clip_worker.client.handle.time", time)
    monkeypatch.setattr("clip_worker.client.sent_task.time", time)
    return time


@pytest.fixture
def results(time):
    return FakeResults(time)
