"""Settings from the environment: what is taken, and how wrong ones are told."""

from __future__ import annotations

import os
from importlib import import_module
from inspect import signature
from ipaddress import ip_network
from pathlib import Path
from typing import get_args

import click
import pytest
from celery import Celery

from clip_engine.acceleration import Acceleration
from clip_engine.inference import buckets
from clip_engine.preprocess import FORMATS
from worker.cli.classify import command as classify
from worker.cli.dead import COMMANDS
from worker.client import Client
from worker.quoting import quote, without_password
from worker.settings import GPU_BATCH, Piece, Settings, SettingsError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("CLIP_WORKER_"):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"CLIP_WORKER_{name}", value)
    return Settings.load()


def wrong_lines(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **variables)
    assert caught.value.code == "BAD_SETTINGS"
    return caught.value.message.splitlines()


# --- what is taken ---


def test_the_defaults_need_no_environment() -> None:
    settings = Settings.load()
    assert (settings.redis_url, settings.results_url) == ("redis://localhost:6379/0",) * 2
    assert (settings.model, settings.device, settings.queue) == ("ViT-B/32", "auto", "clip")
    assert (settings.allow_private, settings.file_roots) == (False, ())


def test_producers_operators_and_workers_have_the_same_default_queue_and_it_is_not_celerys() -> (
    None
):
    options = [
        option
        for command in (classify.command, *(load_dead(name) for name in COMMANDS))
        for option in command.params
        if option.name == "queue"
    ]
    defaults = [signature(Client).parameters["queue"].default, *(o.default for o in options)]
    assert defaults == [Settings.load().queue] * 6
    assert Settings.load().queue != Celery(set_as_current=False).conf.task_default_queue


def load_dead(name: str) -> click.Command:
    return dict[str, click.Command](vars(import_module(f"worker.cli.dead.{name}")))["command"]


def test_numbers_switches_and_lists_are_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        MAX_BATCH="16",
        MAX_WAIT_S="0.25",
        ALLOW_PRIVATE="true",
        REMOTE_CONTROL="0",
        FILE_ROOTS=os.pathsep.join(["/data/a", "", "/data/b"]),
        ALLOW_NETWORKS="10.0.0.0/8, fd00::/8,",
        OBJECT_STORE_SCHEMES="s3 , gs",
    )
    assert (settings.max_batch, settings.max_wait_s) == (16, 0.25)
    assert (settings.allow_private, settings.remote_control) == (True, False)
    assert settings.file_roots == (Path("/data/a"), Path("/data/b"))
    assert settings.allow_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.object_store_schemes == ("s3", "gs")


def test_an_empty_list_is_written_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, OBJECT_STORE_SCHEMES="", FILE_ROOTS="")
    assert (settings.object_store_schemes, settings.file_roots) == ((), ())


def test_an_argument_goes_before_the_environment_and_none_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLIP_WORKER_QUEUE", "from-environment")
    monkeypatch.setenv("CLIP_WORKER_MODEL", "RN50")
    settings = Settings.load(queue="from-argument", model=None)
    assert (settings.queue, settings.model) == ("from-argument", "RN50")


def test_results_may_go_to_another_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, REDIS_URL="redis://a/0", RESULT_URL="redis://b/1")
    assert settings.results_url == "redis://b/1"


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://h", "redis://:secret@h/2"])
def test_each_kind_of_redis_url_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert load(monkeypatch, REDIS_URL=url).redis_url == url


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"])
def test_each_kind_of_device_is_taken(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    assert load(monkeypatch, DEVICE=device).device == device


def test_until_the_model_is_there_a_batch_is_a_gpus_unless_it_is_set() -> None:
    assert Settings.load().largest_batch == GPU_BATCH == buckets.GPU_BATCH
    assert Settings.load(max_batch=3).largest_batch == 3


def test_each_piece_of_acceleration_can_be_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings.load().disable == ()
    assert load(monkeypatch, DISABLE="prepacked, sdpa").disable == ("prepacked", "sdpa")
    # and the engine knows the same names
    assert get_args(Piece) == Acceleration.names()


def test_a_name_that_is_no_piece_of_acceleration_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = wrong_lines(monkeypatch, DISABLE="prepacked,turbo")
    assert line.startswith("CLIP_WORKER_DISABLE is 'turbo': ")
    assert "'cuda_graphs'" in line


def test_image_formats_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().image_formats == FORMATS
    assert load(monkeypatch, IMAGE_FORMATS="JPEG, PNG").image_formats == ("JPEG", "PNG")


def test_an_unknown_image_format_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = wrong_lines(monkeypatch, IMAGE_FORMATS="JPEG,EPS")
    assert line.startswith("CLIP_WORKER_IMAGE_FORMATS is 'EPS': ")
    assert "'WEBP'" in line


# --- what is wrong ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_BATCH", "0"),
        ("MAX_BATCH", "many"),
        ("MAX_BATCH", "2.5"),
        ("MAX_WAIT_S", "-1"),
        ("MAX_WAIT_S", "nan"),
        ("TASK_TIMEOUT_S", "0"),
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:"),
        ("DEVICE", "cpu\n"),
        ("PRECISION", "fp16"),
        ("PREPROCESSING", "best"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost"),
        ("RESULT_URL", "file:///tmp"),
        ("QUEUE", ""),
        ("ALLOW_PRIVATE", "maybe"),
        ("ALLOW_NETWORKS", "10.0.0.0/33"),
        ("MAX_BYTES", "0"),
        ("REPLICAS", "0"),
    ],
)
def test_a_wrong_setting_is_named_as_its_variable_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for line in wrong_lines(monkeypatch, **{name: value}):
        assert line.startswith(f"CLIP_WORKER_{name} is {value!r}: ")
        assert line.endswith(".")


def test_all_wrong_settings_are_told_together_one_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = wrong_lines(monkeypatch, MAX_BATCH="0", DEVICE="gpu", REDIS_URL="x", QUEUE="fine")
    assert [line.partition(" ")[0] for line in lines] == [
        "CLIP_WORKER_REDIS_URL",
        "CLIP_WORKER_DEVICE",
        "CLIP_WORKER_MAX_BATCH",
    ]


def test_a_wrong_argument_is_told_like_a_wrong_variable() -> None:
    with pytest.raises(SettingsError, match=r"^CLIP_WORKER_MAX_BATCH is 5000: "):
        Settings.load(max_batch=5000)


def test_a_wrong_url_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = wrong_lines(monkeypatch, REDIS_URL="http://user:hunter2@host:6379/0")
    assert "hunter2" not in line
    assert "'http://user:***@host:6379/0'" in line


# --- how values are shown ---


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("rediss://user:se:cr@et@host/0?x=1", "rediss://user:***@host/0?x=1"),
        ("redis://user@host/0", "redis://user@host/0"),
        ("redis://:@host/0", "redis://:***@host/0"),
        ("redis://host/0?mail=a:b@c", "redis://host/0?mail=a:b@c"),
        (
            "sentinel://:one@a:26379;sentinel://:two@b:26379",
            "sentinel://:***@a:26379;sentinel://:***@b:26379",
        ),
        ("redis://:secret@[::1", "redis://:***@[::1"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("no url at all", "no url at all"),
        ("", ""),
    ],
)
def test_a_password_is_masked_wherever_it_stands(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("value", ["x" * 78, "x" * 79, "x" * 10_000, list(range(1000)), b"\0" * 99])
def test_a_quoted_value_has_at_most_80_characters(value: object) -> None:
    assert len(quote(value)) <= 80
    assert quote(value)[:5] == repr(value)[:5]
    assert quote(value)[-5:] == repr(value)[-5:]


def test_a_short_value_is_quoted_whole() -> None:
    assert quote("x" * 78) == repr("x" * 78)
    assert quote("a\nb") == r"'a\nb'"


def test_celerys_own_variable_counts_where_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://theirs/1")
    assert Settings.load().redis_url == "redis://theirs/1"
    assert load(monkeypatch, REDIS_URL="redis://ours/2").redis_url == "redis://ours/2"


def test_a_variable_that_is_no_setting_is_named_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = wrong_lines(monkeypatch, MAXBATCH="8", DEVICE="gpu", COLOUR="red")
    assert lines == [
        "CLIP_WORKER_DEVICE is 'gpu': give auto, cpu, cuda or cuda:N.",
        "Unknown setting CLIP_WORKER_COLOUR. Unset it.",
        "Unknown setting CLIP_WORKER_MAXBATCH. Did you mean CLIP_WORKER_MAX_BATCH?",
    ]


def test_a_variable_of_the_test_suite_is_none_of_the_workers_business(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLIP_WORKER_TEST_REDIS_SERVER", "/somewhere")
    assert Settings.load().queue == "clip"
