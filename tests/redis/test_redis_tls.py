"""`rediss://` URLs: what they say of TLS, and what Celery and kombu are given for them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from worker.client import Client
from worker.errors import InvalidRequestError
from worker.redis.celery_app import redis_configuration
from worker.redis.tls import split_tls
from worker.redis.url import check_redis_url

CHECKED = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
UNCHECKED = {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ("", CHECKED),
        ("?ssl_cert_reqs=required", CHECKED),
        ("?ssl_cert_reqs=CERT_REQUIRED", CHECKED),
        ("?ssl_cert_reqs=optional", CHECKED | {"ssl_cert_reqs": ssl.CERT_OPTIONAL}),
        ("?ssl_cert_reqs=none", UNCHECKED),
        ("?ssl_cert_reqs=CERT_NONE", UNCHECKED),
        ("?ssl_check_hostname=False", CHECKED | {"ssl_check_hostname": False}),
        (f"?ssl_ca_certs={__file__}", CHECKED | {"ssl_ca_certs": __file__}),
        ("?ssl_password=a%20b", CHECKED | {"ssl_password": "a b"}),
    ],
)
def test_certificates_are_checked_unless_the_url_says_otherwise(
    parameters: str, options: dict[str, object]
) -> None:
    assert split_tls(f"rediss://:p%40ss@host:1/2{parameters}") == (
        "rediss://:p%40ss@host:1/2",
        options,
    )


def test_parameters_of_others_stay() -> None:
    url, _ = split_tls("rediss://host/0?socket_timeout=3&ssl_cert_reqs=none")
    assert url == "rediss://host/0?socket_timeout=3"
    assert split_tls("redis://host/0?socket_timeout=3") == ("redis://host/0?socket_timeout=3", {})


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("rediss://h/0?ssl_cert_reqs=yes", "give ssl_cert_reqs=required, optional or none"),
        ("rediss://h/0?ssl_check_hostname=maybe", "give ssl_check_hostname=true or false"),
        ("rediss://h/0?ssl_ca_certs=/nowhere/ca.pem", "a file that is there for ssl_ca_certs"),
        ("rediss://h/0?ssl_ca_cert=x", "leave out ssl_ca_cert"),
        ("redis://h/0?ssl_cert_reqs=none", "write rediss:// for TLS"),
        ("redis://h/0?sockettimeout=3", "give one such as redis://"),
        ("redis://h\ud83d/0", "lone surrogate"),
        (Path("redis://h/0"), "give one such as redis://"),
    ],
)
def test_a_wrong_parameter_is_told_what_would_be_right(url: str, remedy: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"is not a Redis URL; .*{remedy}") as caught:
        check_redis_url(url)
    assert caught.value.code == "BAD_REDIS_URL"


def test_celery_and_kombu_check_what_we_check() -> None:
    for url, options in (("rediss://h/0", CHECKED), ("rediss://h/0?ssl_cert_reqs=none", UNCHECKED)):
        configuration = redis_configuration(url, url)
        assert configuration["broker_use_ssl"] == configuration["redis_backend_use_ssl"] == options
        with Client(url) as client:
            assert client._app.backend.connparams.items() >= options.items()
            assert client._app.connection_for_write().ssl == options
    without = redis_configuration("redis://h/0", "redis://h/0")
    assert without["broker_use_ssl"] is without["redis_backend_use_ssl"] is None
