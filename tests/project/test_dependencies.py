"""What is imported is named in pyproject.toml, instead of coming by chance with something else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from worker.extra import MODULES

ROOT = Path(__file__).parents[2]
# Import names that differ from the name of what is installed, or belong to a part of it.
INSTALLED_AS = {
    "PIL": "pillow",
    "griffe": "griffelib",
    "open_clip": "open-clip-torch",
    "opentelemetry": "opentelemetry-sdk",
    "pydantic_core": "pydantic",
    "pynvml": "nvidia-ml-py",
    "yaml": "pyyaml",
}
# The drills compare with celery-batches, as the benchmarks do.
DRILLS = "tests/torture"
TEST_PLACES = (ROOT / "tests", ROOT / "tests" / "integration")  # pytest's `pythonpath`
DJANGO_PROJECT = ROOT / "examples" / "django"  # manage.py's folder


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# For shrink_to, feeds and sinks; the errors say how to install them.
OPTIONAL = {"pillow", "botocore", "lxml", "pyarrow", "sqlalchemy", "watchfiles"}
# Pillow decodes in its place; test_jpeg.py tests without it. GPUs are then not described.
SPARED = {"simplejpeg", "nvidia-ml-py"}


def group(name: str) -> list[str]:
    """The requirements of a dependency group, those that it includes among them."""
    found: list[str] = []
    for entry in project()["dependency-groups"][name]:
        found += [entry] if isinstance(entry, str) else group(entry["include-group"])
    return found


def client() -> set[str]:
    """What the project installs without extras."""
    return {normalized(Requirement(line).name) for line in project()["project"]["dependencies"]}


def named(*groups: str) -> set[str]:
    """What the project with its extras and these groups installs on every Python and machine.

    And what it can do without where there is no wheel.
    """
    requirements = list(project()["project"]["dependencies"])
    for name in groups:
        requirements += group(name)
    for extra in project()["project"]["optional-dependencies"].values():
        requirements += extra
    parsed = [Requirement(line) for line in requirements]
    return {normalized(one.name) for one in parsed if one.marker is None or one.name in SPARED}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def imported(path: Path) -> frozenset[str]:
    """The dotted names of all that a file imports, at its head or in a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


@cache
def own_file(name: str, folder: Path) -> Path | None:
    """The file of a module of ours: in its importer's folder, or where tests and scripts look."""
    for place in (folder, ROOT, *TEST_PLACES, ROOT / "scripts", DJANGO_PROJECT):
        stem = place / name.replace(".", "/")
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.exists():
                return path
    return None


def is_ours(root: str, importer: Path) -> bool:
    return own_file(root, importer.parent) is not None or any(
        (place / root).is_dir() for place in (ROOT, ROOT / "tests")
    )


def with_what_they_import(paths: list[Path]) -> list[Path]:
    """The files, and those of ours that they lead to."""
    found = dict.fromkeys(paths)
    waiting = list(paths)
    while waiting:
        importer = waiting.pop()
        reached = {own_file(name, importer.parent) for name in imported(importer)} - {None}
        new = [path for path in reached if path is not None and path not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def unnamed(paths: list[Path], known: set[str]) -> dict[str, str]:
    """Third-party imports whose package `known` lacks, each with a file that imports it."""
    found: dict[str, str] = {}
    for path in with_what_they_import(paths):
        roots = {name.partition(".")[0] for name in imported(path)}
        for root in roots - sys.stdlib_module_names:
            package = normalized(INSTALLED_AS.get(root, root))
            if package not in known and not is_ours(root, path):
                found[root] = str(path.relative_to(ROOT))
    return found


@pytest.mark.parametrize(
    ("folder", "groups"),
    [
        ("clip_engine", ()),
        ("worker", ()),
        ("tests", ("test", "docs")),
        ("scripts", ("dev",)),
        ("examples", ("examples",)),
        ("benchmarks", ("bench",)),
        (DRILLS, ("test", "bench")),
    ],
)
def test_each_third_party_module_that_is_imported_is_named_in_pyproject(
    folder: str, groups: tuple[str, ...]
):
    # given
    paths = files(folder)
    if folder == "tests":
        paths = [path for path in paths if not path.is_relative_to(ROOT / DRILLS)]
    assert paths
    # then
    assert unnamed(paths, named(*groups)) == {}


def test_the_client_imports_only_what_is_installed_without_extras():
    assert unnamed(files("clip_worker"), client() | OPTIONAL) == {}


def test_the_command_line_knows_all_that_the_worker_needs():
    # given the packages of the extra that are not the client's too
    extra = project()["project"]["optional-dependencies"]["worker"]
    packages = {normalized(Requirement(line).name) for line in extra} - client()
    # then
    known = {normalized(INSTALLED_AS.get(name, name)) for name in MODULES}
    assert known == packages - SPARED - {"billiard"}  # which Celery brings


def test_a_module_whose_package_is_not_named_is_found():
    # given
    path = ROOT / "tests" / "project" / "test_dependencies.py"
    # then
    assert unnamed([path], named("test") - {"pytest"}) == {
        "pytest": "tests/project/test_dependencies.py"
    }


def test_what_comes_only_with_another_module_of_ours_is_found():
    # given a test that imports benchmarks, which import psutil
    path = ROOT / "tests" / "project" / "test_benchmarks.py"
    # then
    assert "psutil" in unnamed([path], named("test") - {"psutil"})
