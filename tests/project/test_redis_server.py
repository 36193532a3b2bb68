from collections.abc import Iterator

import pytest
import redis
from support.redis_server import RedisServer, find_executable

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")

pytestmark = pytest.mark.integration


@pytest.fixture
def durable() -> Iterator[RedisServer]:
    executable = find_executable()
    assert executable is not None
    with RedisServer(executable, *DURABLE) as server:
        yield server


def test_a_killed_server_comes_back_on_its_port_with_its_data(durable: RedisServer) -> None:
    # given a server with one key
    url = durable.url
    durable.client().set("key", "value")
    # when it is killed
    durable.kill()
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(url).ping()
    # then it can be started again as it was
    durable.restart()
    assert durable.url == url
    assert durable.client().get("key") == b"value"


def test_a_running_server_is_restarted_in_order(durable: RedisServer) -> None:
    first = durable.pid
    durable.client().set("key", "value")
    durable.restart()
    assert durable.pid != first
    assert durable.client().get("key") == b"value"


def test_the_log_can_be_read(durable: RedisServer) -> None:
    assert "Ready to accept connections" in durable.log


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_gets_an_empty_database(redis_url: str, turn: int) -> None:
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.set("left behind", turn)
