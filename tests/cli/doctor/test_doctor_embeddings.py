"""What the doctor finds about a store of embeddings, in Redis and in Lance."""

from __future__ import annotations

import shutil
import sys
from collections import namedtuple

import numpy as np
import pytest
from support.moto_server import BUCKET, moto_server
from support.redis_acl import CLIENT, WORKER, acl_server
from support.redis_server import new_server

from worker.cli.doctor import embeddings_in_lance
from worker.cli.doctor.embeddings_in_redis import store_rights
from worker.cli.doctor.rights_checks import missing_rights
from worker.cli.entry import run
from worker.embeddings.open import open_store
from worker.embeddings.store import Embedding, Space

pytestmark = pytest.mark.integration

STORE, BUDGET = "CLIP_WORKER_EMBEDDING_STORE", "CLIP_WORKER_EMBEDDING_STORE_MAX_BYTES"
SECRET = "correct-horse"
NOBODY = "redis://127.0.0.1:1/0"  # no check of embeddings needs the queue's Redis
SPACE = Space("a" * 64, "test", 4)
EMBEDDING = Embedding("0a" * 32, "https://example.com/a.jpg", np.array([1, 0, 0, 0], np.float32))


@pytest.fixture
def examine(doctor, monkeypatch):
    """Looks at a store; the exit status, and the findings about the store and its budget."""

    def examine(url: str, **settings: str):
        for name, value in ({STORE: url} | settings).items():
            monkeypatch.setenv(name, value)
        status, found = doctor(NOBODY, "embeddings")
        return status, found["store"], found["budget"]

    return examine


def test_without_a_store_it_says_that_there_is_none(examine) -> None:
    status, store, budget = examine("")
    assert (status, store["status"], budget["status"]) == (0, "ok", "ok")
    assert store["found"] == f"{STORE} is unset, so no embedding is kept."


def test_a_sound_store_in_redis_is_left_as_it_was(examine, server) -> None:
    status, store, budget = examine(server.url)
    assert (status, store["status"], budget["status"]) == (0, "ok", "ok"), (store, budget)
    assert f"Redis at {server.url} answers" in store["found"]
    assert f"256.0 MiB ({BUDGET})" in budget["found"]
    assert not server.client().keys("*")


def test_a_redis_that_is_not_there_is_named_without_its_password(examine) -> None:
    status, store, budget = examine(f"redis://me:{SECRET}@127.0.0.1:1/3")
    assert (status, store["status"], budget["status"]) == (1, "problem", "skipped")
    assert store["found"] == "Nothing listens at 127.0.0.1:1."
    assert f"in {STORE}." in store["remedy"]
    assert "redis://me:***@127.0.0.1:1/3" in budget["found"]
    assert SECRET not in f"{store}{budget}"


def test_a_wrong_password_is_named_with_its_variable(examine, server) -> None:
    server.client().config_set("requirepass", "right")
    status, store, _ = examine(f"redis://:{SECRET}@127.0.0.1:{server.port}/0")
    assert status == 1
    assert "rejects the login" in store["found"]
    assert f"user and password in {STORE}" in store["remedy"]
    assert SECRET not in str(store)


def test_a_replica_can_not_keep_embeddings(examine, server) -> None:
    with new_server() as replica:
        replica.client().replicaof("127.0.0.1", server.port)
        status, store, _ = examine(replica.url)
    assert status == 1
    assert "accepts no writes" in store["found"]


def test_rights_that_are_missing_are_named(examine, server) -> None:
    server.client().execute_command(
        "ACL", "SETUSER", "clip", "reset", "on", ">pw", "~clip-worker:embeddings:*", "+@all",
        "-hscan", "-zpopmin",
    )  # fmt: skip
    status, store, _ = examine(f"redis://clip:pw@127.0.0.1:{server.port}/0")
    assert status == 1
    assert "HSCAN on clip-worker:embeddings:*:00" in store["found"]
    assert "ZPOPMIN on clip-worker:embeddings:used" in store["found"]
    assert "HMGET" not in store["found"]
    assert "ACL SETUSER" in store["remedy"]


def test_of_the_users_that_are_shipped_only_the_worker_may_keep_embeddings(
    examine, tmp_path
) -> None:
    with acl_server(tmp_path) as shipped:
        status, store, budget = examine(shipped.url(WORKER))
        assert (status, store["status"], budget["status"]) == (0, "ok", "ok"), (store, budget)
        status, store, _ = examine(shipped.url(CLIENT))
        assert (status, store["status"]) == (1, "problem")


def test_each_right_is_one_that_redis_knows(server) -> None:
    assert {right[0].lower() for right in store_rights()} <= set(server.client().command())
    assert missing_rights(server.client(), store_rights()) == []


def test_a_user_who_may_only_keep_embeddings_is_enough(examine, server) -> None:
    server.client().execute_command(
        "ACL", "SETUSER", "clip", "reset", "on", ">pw", "~clip-worker:embeddings:*", "+@all",
        "-info", "-config",
    )  # fmt: skip
    status, store, budget = examine(f"redis://clip:pw@127.0.0.1:{server.port}/0")
    assert (status, store["status"], budget["status"]) == (0, "ok", "skipped"), (store, budget)


def test_a_budget_larger_than_redis_is_a_warning(examine, server) -> None:
    server.client().config_set("maxmemory", "100mb")
    status, _, budget = examine(server.url)
    assert (status, budget["status"]) == (0, "warning")
    assert "256.0 MiB" in budget["found"]
    assert "of the 100.0 MiB that Redis may take (maxmemory)" in budget["found"]
    assert f"Lower {BUDGET} below 80 %" in budget["remedy"]
    assert examine(server.url, **{BUDGET: "50000000"})[2]["status"] == "ok"


def test_a_policy_that_drops_whole_hashes_is_a_warning(examine, server) -> None:
    server.client().config_set("maxmemory", "1gb")
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    _, _, budget = examine(server.url)
    assert budget["status"] == "warning"
    assert "(allkeys-lru)" in budget["found"]
    server.client().config_set("maxmemory-policy", "volatile-lru")  # embeddings have no expiry
    assert examine(server.url)[2]["status"] == "ok"


def test_a_url_of_something_else_is_a_wrong_setting(doctor, monkeypatch) -> None:
    monkeypatch.setenv(STORE, f"lance://me:{SECRET}@folder")
    status, found = doctor(NOBODY, "settings", "embeddings")
    assert status == 1
    assert STORE in found["values"]["found"]
    assert "give lance:///path" in found["values"]["found"]
    assert found["store"]["status"] == found["budget"]["status"] == "skipped"
    assert SECRET not in str(found)


def test_a_store_in_a_folder_is_counted_and_left_as_it_was(examine, tmp_path) -> None:
    url = f"lance://{tmp_path}/deep/store"
    status, store, budget = examine(url)
    assert (status, store["status"], budget["status"]) == (0, "ok", "ok"), (store, budget)
    assert "is made when the first embedding is stored" in store["found"]
    assert not (tmp_path / "deep").exists()
    opened = open_store(url)
    opened.put(SPACE, [EMBEDDING])
    opened.close()
    before = sorted(tmp_path.rglob("*"))
    status, store, _ = examine(url)
    assert (status, store["status"]) == (0, "ok"), store
    assert "/deep/store': 1; it can be read and written." in store["found"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_in_place_of_the_folder_is_a_problem(examine, tmp_path) -> None:
    (tmp_path / "file").touch()
    status, store, _ = examine(f"lance://{tmp_path}/file/store")
    assert status == 1
    assert f"'{tmp_path}/file' is not a folder" in store["found"]
    assert STORE in store["remedy"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody may make files")
def test_a_folder_that_can_not_be_written_is_a_problem(examine) -> None:
    status, store, _ = examine("lance:///proc/store")
    assert status == 1
    assert "The folder '/proc/store' can't be written" in store["found"]


def test_a_full_disk_is_a_warning(examine, tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  # as of shutil
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 1 << 20))
    _, _, budget = examine(f"lance://{tmp_path}")
    assert budget["status"] == "warning"
    assert "1.0 MiB left" in budget["found"]


def test_a_missing_extra_is_named_with_its_command(examine, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(embeddings_in_lance, "find_spec", lambda _: None)
    status, store, _ = examine(f"lance://{tmp_path}")
    assert status == 1
    assert 'pip install "clip-worker[lancedb]"' in store["remedy"]


def test_a_bucket_is_read(examine, monkeypatch) -> None:
    with moto_server() as moto:
        monkeypatch.setenv("AWS_ENDPOINT", moto.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        status, store, budget = examine(f"lance+s3://{BUCKET}/embeddings")
        assert (status, store["status"], budget["status"]) == (0, "ok", "ok"), (store, budget)
        assert f"s3://{BUCKET}/embeddings': 0; it can be read" in store["found"]
        status, store, _ = examine("lance+s3://no-such-bucket/embeddings")
        _, login, _ = examine(f"lance+s3://me:{SECRET}@no-such-bucket/embeddings")
    assert status == 1
    assert "'s3://no-such-bucket/embeddings' can't be used: " in store["found"]
    assert "credentials" in store["remedy"]
    assert SECRET not in f"{store}{login}"
    assert "can't be used" in login["found"]


def test_people_read_a_line_for_the_store(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(STORE, f"lance://{tmp_path}")
    assert run(["doctor", "--redis-url", NOBODY, "store"]) == 0
    assert capsys.readouterr().out.startswith(
        "embeddings:\n  ok       store: Embeddings in the store "
    )
