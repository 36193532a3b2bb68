"""Which servers have holes, by what they say about themselves."""

from __future__ import annotations

import pytest

from worker.cli.doctor.examined_redis import ExaminedRedis
from worker.cli.doctor.redis_version import check_role, check_version


class Says(ExaminedRedis):
    """A Redis that says this about itself."""

    def __init__(self, url: str = "redis://localhost:6379/0", **info: object) -> None:
        super().__init__(url)
        self.info = info  # type: ignore[misc]  # in place of the cached property


def valkey(version: str, url: str = "redis://localhost:6379/0") -> Says:
    return Says(url, redis_version="7.2.4", server_name="valkey", valkey_version=version)


@pytest.mark.parametrize(
    "version", ["6.2.22", "7.2.14", "7.4.9", "8.2.6", "8.4.3", "8.6.3", "8.8.0", "9.0.0"]
)
def test_a_fixed_release_is_fine(version) -> None:
    assert check_version(Says(redis_version=version)).status == "ok"


@pytest.mark.parametrize(
    ("version", "cve", "fix"),
    [
        ("6.2.19", "CVE-2025-49844", "6.2.22"),
        ("7.2.10", "CVE-2025-49844", "7.2.14"),
        ("7.4.8", "CVE-2026-23479", "7.4.9"),
        ("8.2.5", "CVE-2026-23479", "8.2.6"),
        ("8.6.2", "CVE-2026-23631", "8.6.3"),
        ("6.2.21", "CVE-2026-23631", "6.2.22"),
    ],
)
def test_an_older_one_names_its_hole_and_the_fixed_release_of_its_branch(version, cve, fix) -> None:
    finding = check_version(Says(redis_version=version))
    assert finding.status == "warning"
    assert cve in finding.found
    assert f"Upgrade to {fix} or newer" in finding.remedy


def test_a_hole_that_began_later_is_not_reported() -> None:
    assert "CVE-2026-23479" not in check_version(Says(redis_version="7.0.15")).found


@pytest.mark.parametrize("version", ["7.0.15", "8.0.6"])
def test_a_branch_without_a_fix_needs_a_newer_branch(version) -> None:
    assert "gets no more fixes" in check_version(Says(redis_version=version)).remedy


def test_the_holes_of_tls_count_where_tls_is_used() -> None:
    assert check_version(Says(redis_version="8.2.8")).status == "ok"
    finding = check_version(Says("rediss://localhost:6379/0", redis_version="8.2.8"))
    assert "CVE-2026-81934" in finding.found
    assert "8.2.9" in finding.remedy


@pytest.mark.parametrize(
    ("version", "status"), [("8.1.6", "warning"), ("8.1.7", "ok"), ("9.1.0", "ok")]
)
def test_valkey_counts_for_itself(version, status) -> None:
    finding = check_version(valkey(version))
    assert (finding.status, f"Valkey {version}" in finding.found) == (status, True)


def test_a_version_before_6_2_is_a_problem() -> None:
    finding = check_version(Says(redis_version="5.0.7"))
    assert finding.status == "problem"
    assert "older than 6.2" in finding.found


def test_a_cluster_is_a_problem() -> None:
    assert check_role(Says(role="master", cluster_enabled=1)).status == "problem"
