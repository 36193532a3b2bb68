"""`rediss://` URLs, and the TLS options of Celery and kombu for them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from clip_worker.errors import InvalidRequestError
from clip_worker.redis.tls import split_tls
from clip_worker.redis.url import check_redis_url

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
def test_certificates_are_verified_unless_the_url_says_otherwise(parameters, options):
    url = "rediss://:p%40ss@host:1/2"
    assert split_tls(url + parameters) == (url, options)


def test_other_parameters_are_kept():
    url, _ = split_tls("rediss://host/0?socket_timeout=3&ssl_cert_reqs=none")
    assert url == "rediss://host/0?socket_timeout=3"
    assert split_tls("redis://host/0?socket_timeout=3") == ("redis://host/0?socket_timeout=3", {})


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("rediss://h/0?ssl_cert_reqs=yes", "give ssl_cert_reqs=required, optional or none"),
        ("rediss://h/0?ssl_check_hostname=maybe", "give ssl_check_hostname=true or false"),
        ("rediss://h/0?ssl_ca_certs=/nowhere/ca.pem", "an existing file for ssl_ca_certs"),
        ("rediss://h/0?ssl_ca_cert=x", "leave out ssl_ca_cert"),
        ("redis://h/0?ssl_cert_reqs=none", "write rediss:// for TLS"),
        ("redis://h/0?sockettimeout=3", "give one such as redis://"),
        ("redis://h\ud83d/0", "lone surrogate"),
        (Path("redis://h/0"), "give one such as redis://"),
    ],
)
def test_the_error_for_an_invalid_parameter_says_what_to_change(url, remedy):
    with pytest.raises(InvalidRequestError, match=f"is not a Redis URL; .*{remedy}") as caught:
        check_redis_url(url)
    assert caught.value.code == "BAD_REDIS_URL"


@pytest.mark.parametrize(
    ("url", "options"),
    [("rediss://h/0", CHECKED), ("rediss://h/0?ssl_cert_reqs=none", UNCHECKED)],
)
def test_celery_and_kombu_verify_what_we_verify(celery, url, options):
    app = celery(url)
    assert app.conf.broker_use_ssl == app.conf.redis_backend_use_ssl == options
    assert app.backend.connparams.items() >= options.items()
    assert app.connection_for_write().ssl == options


def test_a_url_without_tls_has_no_tls_options(celery):
    app = celery("redis://h/0")
    assert app.conf.broker_use_ssl is app.conf.redis_backend_use_ssl is None
