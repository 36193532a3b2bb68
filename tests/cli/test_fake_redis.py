import socket

import pytest

pytest.importorskip("fakeredis", reason="the extra `demo` is not installed")

from worker.cli.demo.fake_redis import HOST, LoopbackServer


def test_replies_are_not_held_back_by_nagles_algorithm() -> None:
    with (
        LoopbackServer() as server,
        socket.create_connection(server.server_address) as _,
    ):
        accepted, _ = server.get_request()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_only_the_loopback_interface_is_served() -> None:
    with LoopbackServer() as server:
        assert server.server_address[0] == HOST == "127.0.0.1"
