"""The proxy that torture cuts workers off with."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from torture.proxy import HOST, Proxy

WAIT_S = 10.0
SILENCE_S = 0.2  # long enough for a byte that should not pass to have passed


@pytest.fixture
def echo_port():
    """A server that sends back what it gets."""
    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=_serve, args=[listener], daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener):
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_echo, args=[connection], daemon=True).start()


def _echo(connection):
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(4096):
            if data == b"bye":
                return
            connection.sendall(data)


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=WAIT_S)


def is_silent(connection):
    connection.settimeout(SILENCE_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(WAIT_S)
    return False


def test_bytes_pass_both_ways(echo_port):
    with Proxy(echo_port) as proxy, connect(proxy) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"


def test_while_it_is_cut_nothing_passes_and_afterwards_everything(echo_port):
    with Proxy(echo_port) as proxy, connect(proxy) as old:
        old.sendall(b"x")
        assert old.recv(1) == b"x"
        # when
        proxy.cut()
        old.sendall(b"held back")
        with connect(proxy) as new:
            new.sendall(b"new")
            # then
            assert is_silent(old)
            assert is_silent(new)
            proxy.heal()
            assert old.recv(9) == b"held back"
            assert new.recv(3) == b"new"


def test_while_it_is_cut_not_even_an_end_passes():
    with (
        socket.create_server((HOST, 0)) as listener,
        Proxy(listener.getsockname()[1]) as proxy,
        connect(proxy) as connection,
    ):
        server, _ = listener.accept()
        with server:
            server.sendall(b"x")
            assert connection.recv(1) == b"x"
            # when
            proxy.cut()
        # then the server's end is held back
        assert is_silent(connection)
        proxy.heal()
        assert connection.recv(1) == b""


def test_refusing_keeps_old_connections_and_admitting_takes_new_ones(echo_port):
    with Proxy(echo_port) as proxy, connect(proxy) as old:
        old.sendall(b"x")
        assert old.recv(1) == b"x"
        # when
        proxy.refuse()
        # then
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        old.sendall(b"still")
        assert old.recv(5) == b"still"
        proxy.admit()
        with connect(proxy) as new:
            new.sendall(b"y")
            assert new.recv(1) == b"y"


def test_the_servers_end_is_the_clients_end(echo_port):
    with Proxy(echo_port) as proxy, connect(proxy) as connection:
        connection.sendall(b"bye")
        assert connection.recv(1) == b""


def test_without_a_server_the_client_is_hung_up_on():
    with socket.create_server((HOST, 0)) as gone:
        port = gone.getsockname()[1]
    with Proxy(port) as proxy, connect(proxy) as connection:
        assert connection.recv(1) == b""


def test_leaving_ends_every_connection(echo_port):
    with Proxy(echo_port) as proxy:
        connection = connect(proxy)
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
    with connection:
        assert connection.recv(1) == b""
