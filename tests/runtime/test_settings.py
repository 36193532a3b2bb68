"""Settings from the environment: what is accepted, and how wrong ones are reported."""

from __future__ import annotations

import base64
import os
import traceback
from importlib import import_module
from inspect import signature
from ipaddress import ip_network
from pathlib import Path
from typing import get_args

import click
import pytest
from celery import Celery

from clip_engine.acceleration import Acceleration
from clip_engine.preprocess import FORMATS
from clip_worker import Client
from clip_worker.quoting import quote, without_password
from worker.cli.classify import command as classify
from worker.cli.dead import COMMANDS
from worker.settings import PROVISIONAL_BATCH, Settings, SettingsError
from worker.variables import AccelerationName

DEVICES = "give auto, cpu, cuda, cuda:N, cuda:GPU-<uuid> or cuda:MIG-<uuid>"
NETWORKS = ("10.0.0.0/8", "fd00::/8")
UUIDS = (
    "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77",
    "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
    "MIG-GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77/1/0",
)


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


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MAX_BATCH", "16", 16),
        ("ACTIVATION", "quick_gelu", "quick_gelu"),
        ("ACTIVATION", "", None),
        ("MAX_WAIT_S", "0.25", 0.25),
        ("ALLOW_PRIVATE", "true", True),
        ("REMOTE_CONTROL", "0", False),
        ("FILE_ROOTS", os.pathsep.join(["/a", "", "/b"]), (Path("/a"), Path("/b"))),
        ("FILE_ROOTS", "", ()),
        ("ALLOW_NETWORKS", "10.0.0.0/8, fd00::/8,", tuple(map(ip_network, NETWORKS))),
        ("OBJECT_STORE_SCHEMES", "s3 , gs", ("s3", "gs")),
        ("OBJECT_STORE_SCHEMES", "", ()),
        ("DISABLE", "prepacked, cached_text", ("prepacked", "cached_text")),
        ("IMAGE_FORMATS", "JPEG, PNG", ("JPEG", "PNG")),
        *(("REDIS_URL", url, url) for url in ("redis://h:1/0", "rediss://h", "redis://:s@h/2")),
        *(("DEVICE", name, name) for name in ("auto", "cpu", "cuda", "cuda:0", "cuda:15")),
        *(("DEVICE", f"cuda:{uuid}", f"cuda:{uuid}") for uuid in UUIDS),
        *(("WORKERS", text, value) for text, value in {"3": 3, "auto": None, "": None}.items()),
    ],
)
def test_a_setting_is_read_from_its_variables_text(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    assert getattr(load(monkeypatch, **{name: text}), name.lower()) == value


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


def test_until_the_model_is_loaded_the_largest_batch_is_a_guess_unless_it_is_set() -> None:
    assert Settings.load().largest_batch == PROVISIONAL_BATCH
    assert Settings.load(max_batch=3).largest_batch == 3


def test_the_engine_knows_the_same_names_and_all_of_it_is_used_by_default() -> None:
    settings = Settings.load()
    assert (settings.disable, settings.image_formats) == ((), FORMATS)
    assert get_args(AccelerationName) == Acceleration.names()


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


@pytest.mark.parametrize(
    ("name", "text", "wrong", "right"),
    [
        ("DISABLE", "prepacked,turbo", "turbo", "'cuda_graphs'"),
        ("IMAGE_FORMATS", "JPEG,EPS", "EPS", "'WEBP'"),
    ],
)
def test_of_a_list_the_unknown_name_is_quoted_with_those_that_are_known(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, wrong: str, right: str
) -> None:
    [line] = wrong_lines(monkeypatch, **{name: text})
    assert line.startswith(f"CLIP_WORKER_{name} is {wrong!r}: ")
    assert right in line


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


def test_secrets_of_webhooks_are_read_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret, other = ("whsec_" + base64.b64encode(each * 30).decode() for each in (b"a", b"b"))
    settings = load(monkeypatch, WEBHOOK_SECRET=f"{secret}, {other},")
    assert settings.webhook_keys == (b"a" * 30, b"b" * 30)
    assert secret not in repr(settings)
    assert Settings.load(webhook_secret="").webhook_keys == ()
    # and one that is too short, or misspelt
    for wrong in (f"{secret},whsec_c2hvcnQ=", f"{secret},whsec_{30 * '!'}"):
        with pytest.raises(SettingsError) as caught:
            load(monkeypatch, WEBHOOK_SECRET=wrong)
        assert caught.value.message.startswith("CLIP_WORKER_WEBHOOK_SECRET is not valid: give whs")
        shown = "".join(traceback.format_exception(caught.value))
        assert not {part for part in wrong.split(",") if part in shown}


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
        f"CLIP_WORKER_DEVICE is 'gpu': {DEVICES}.",
        "Unknown setting CLIP_WORKER_COLOUR. Unset it.",
        "Unknown setting CLIP_WORKER_MAXBATCH. Did you mean CLIP_WORKER_MAX_BATCH?",
    ]


def test_a_variable_of_the_test_suite_is_none_of_the_workers_business(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLIP_WORKER_TEST_REDIS_SERVER", "/somewhere")
    assert Settings.load().queue == "clip"
