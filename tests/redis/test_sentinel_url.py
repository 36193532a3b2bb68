"""`sentinel://` URLs, and the configuration of Celery for them."""

from __future__ import annotations

import pytest
from kombu import Connection

from clip_worker.errors import InvalidRequestError
from clip_worker.redis.sentinel_url import SentinelUrl
from clip_worker.redis.url import check_redis_url, connect

FULL = (
    "sentinel://me:p%40ss@one:1111;sentinel://[::1]:2222;sentinel://three/4?master=mymaster"
    "&sentinel_password=other"
)


def test_a_url_names_the_sentinels_and_the_master():
    parsed = SentinelUrl.parse(FULL)
    assert parsed == SentinelUrl(
        hosts=(("one", 1111), ("::1", 2222), ("three", 26379)),
        master="mymaster",
        db=4,
        credentials={"username": "me", "password": "p@ss"},
        sentinel_credentials={"password": "other"},
    )
    assert "p@ss" not in repr(parsed)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("sentinel://", "give a host for each sentinel"),
        ("sentinel://one;", "give a host for each sentinel"),
        ("sentinel://one;redis://two?master=m", "give a host for each sentinel"),
        ("sentinel://one:26379/0", "name the master"),
        ("sentinel://one/0?master=", "name the master"),
        ("sentinel://one/0?master=m&mastre=n", "leave out mastre"),
        ("sentinel://one/x?master=m", "give one number of a database"),
        ("sentinel://one/0;sentinel://two/1?master=m", "give one number of a database"),
        ("sentinel://:a@one;sentinel://:b@two/0?master=m", "give the master's password once"),
        ("sentinel://one:port/0?master=m", "Port"),
    ],
)
def test_the_error_for_an_invalid_url_says_what_to_change(url, remedy):
    with pytest.raises(ValueError, match=remedy):
        SentinelUrl.parse(url)
    with pytest.raises(InvalidRequestError, match=f"is not a Redis URL; .*{remedy}") as caught:
        check_redis_url(url)
    assert caught.value.code == "BAD_REDIS_URL"


def test_kombu_and_celerys_result_backend_use_the_same_sentinels(celery):
    app = celery(FULL)
    for options in (app.conf.broker_transport_options, app.conf.result_backend_transport_options):
        assert options["master_name"] == "mymaster"
        assert options["sentinel_kwargs"]["password"] == "other"
    with Connection(app.conf.broker_url) as connection:
        hosts = ["one:1111/4", "[::1]:2222/4", "three:26379/4"]
        assert [url.rpartition("@")[2] for url in connection.alt] == hosts
        assert (connection.userid, connection.password) == ("me", "p@ss")
        assert (connection.virtual_host, connection.transport_cls) == ("4", "sentinel")
    parameters = app.backend.connparams
    hosts = [("one", 1111), ("::1", 2222), ("three", 26379)]
    assert [(host["host"], host["port"]) for host in parameters["hosts"]] == hosts
    assert (parameters["db"], parameters["password"]) == (4, "p@ss")


def test_only_the_url_with_sentinels_has_their_options(celery):
    app = celery(FULL, "redis://localhost/0")
    assert app.conf.result_backend_transport_options == {}


def test_our_own_connection_asks_each_sentinel_once_for_a_second():
    with connect(FULL) as redis:
        pool = redis.connection_pool
        assert pool.service_name == "mymaster"
        assert pool.connection_kwargs["db"] == 4
        assert pool.connection_kwargs["password"] == "p@ss"
        for sentinel in pool.sentinel_manager.sentinels:
            given = sentinel.connection_pool.connection_kwargs
            assert (given["socket_timeout"], given["password"]) == (1.0, "other")
            assert given["retry"]._retries == 0
