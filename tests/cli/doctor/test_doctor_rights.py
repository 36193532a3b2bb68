"""Whether an access list allows what a client and a worker send."""

from __future__ import annotations

import pytest
from support.redis_acl import CLIENT, WORKER, acl_server

from worker.cli.doctor import rights_checks, subject
from worker.cli.doctor.needed_rights import client_rights, worker_rights

pytestmark = pytest.mark.integration


@pytest.fixture
def url(server):
    """Makes a user who may do what the rules say, and gives its URL."""

    def url(*rules: str) -> str:
        server.client().execute_command("ACL", "SETUSER", "clip", "reset", "on", ">pw", *rules)
        return f"redis://clip:pw@127.0.0.1:{server.port}/0"

    return url


def test_a_user_who_may_do_everything(doctor, url) -> None:
    status, found = doctor(url("~*", "&*", "+@all"), "rights")
    assert status == 0
    assert "The user 'clip' may run the" in found["commands"]["found"]


def test_a_missing_command_is_named(doctor, url) -> None:
    status, found = doctor(url("~*", "&*", "+@all", "-blmove", "-publish"), "rights")
    assert status == 1
    assert "BLMOVE on clip" in found["commands"]["found"]
    assert "ACL SETUSER" in found["commands"]["remedy"]


def test_a_missing_key_is_named(doctor, url) -> None:
    rules = ("~clip*", "~_kombu*", "&*", "+@all")
    _, found = doctor(url(*rules), "rights")
    assert "SET on celery-task-meta-*" in found["commands"]["found"]


def test_another_queue_needs_other_keys(doctor, url) -> None:
    rules = ("~clip*", "~_kombu*", "~celery-task-meta-*", "&*", "+@all")
    assert doctor(url(*rules), "rights")[0] == 0
    assert doctor(url(*rules), "rights", "--queue", "images")[0] == 1


def test_a_user_without_scripts_is_asked_in_a_transaction(doctor, url, server) -> None:
    _, found = doctor(url("~*", "&*", "+@all", "-evalsha", "-script"), "rights")
    assert "EVALSHA" in found["commands"]["found"]
    assert not server.client().keys("*")  # nothing was run


def test_with_the_client_alone_its_rights_are_checked(doctor, url, monkeypatch) -> None:
    monkeypatch.setattr(subject, "missing_extra", lambda _: "not installed")
    rules = ("~*", "&*", "+@all", "-blmove")
    status, found = doctor(url(*rules), "rights")
    assert (status, found["commands"]["status"]) == (0, "ok")
    assert "that a client sends" in found["commands"]["found"]


@pytest.mark.parametrize(
    "rights", [client_rights("q"), worker_rights("q", remote_control=True, db=0)]
)
def test_each_example_is_a_command_that_redis_knows(server, rights) -> None:
    assert {right[0].lower() for right in rights} <= set(server.client().command())
    assert rights_checks.missing_rights(server.client(), rights) == []


def test_the_users_of_the_access_list_that_is_shipped_may_do_what_is_needed(
    doctor, tmp_path, monkeypatch
) -> None:
    with acl_server(tmp_path) as shipped:
        status, found = doctor(shipped.url(WORKER))
        assert (status, found["commands"]["status"]) == (0, "ok"), found
        assert f"'{WORKER}'" in found["commands"]["found"]
        assert doctor(shipped.url(CLIENT), "rights")[0] == 1  # it may not work
        monkeypatch.setattr(subject, "missing_extra", lambda _: "not installed")
        status, found = doctor(shipped.url(CLIENT), "rights")
        assert (status, found["commands"]["status"]) == (0, "ok"), found
