"""What installing and importing the client costs an application, by its version of Celery.

For each version: a new virtual environment without pip, our wheel and what pip chooses for it, then
Flower and Django beside it. It downloads about 20 MB for each from the package index that pip is
configured for.

.venv/bin/python -m benchmarks.client_install
.venv/bin/python -m benchmarks.client_install --redis-url redis://localhost:6379/0

The second also sends images from each environment to a worker that runs on that Redis with the demo
model (`clip-worker start --model demo`).
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.client_import import probe

ROOT = Path(__file__).parents[1]
PACKAGES = ("clip_engine", "clip_worker", "worker")
CELERIES = ("celery==5.4.*", "celery[redis]==5.5.*", "celery==5.6.*", "celery==5.7.*")
NEIGHBOURS = ("flower", "django")
ROUNDS = 9
MADE = "from clip_worker import Client; Client()"
BALLOON = ROOT / "clip_engine" / "demo" / "images" / "balloon.webp"
ROUND_TRIP = """
import asyncio, sys
from pathlib import Path
from clip_worker import AsyncClient, Client, ImageInvalidError

labels = ["pink circle", "blue circle"]

async def in_a_coroutine(image):
    async with AsyncClient(sys.argv[1]) as client:
        handle = await client.classify(image, labels, k=1)
        print((await handle).predictions[0].label)

with Client(sys.argv[1]) as client:
    image = client.upload(Path(sys.argv[2]), keep=True)
    print(client.classify(image, labels, k=1).get(timeout=60).predictions[0].label)
    [(_, outcome)] = client.classify_many([image], labels, k=1, timeout=60)
    print(outcome.result.predictions[0].label)
    asyncio.run(in_a_coroutine(image))
    try:
        client.classify("data:,none", labels).get(timeout=60)
    except ImageInvalidError as error:
        print(error.code)
"""
PRINTED = [*["pink circle"] * 3, "DECODE_UNRECOGNIZED"]
ABSENT = ("torch", "numpy", "pillow", "urllib3", "rich")
HEADINGS = (
    *("Celery", "kombu", "redis-py", "packages", "MB on disk"),
    *(f"import, least of {ROUNDS}, s", "CPU, s", "memory, MB"),
    *("`pip check`", "beside Flower and Django", "with a worker"),
)


def main() -> None:
    """Measure each version and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--celery", nargs="+", default=CELERIES, help="requirements of Celery")
    parser.add_argument("--redis-url", help="Redis of a running worker with the demo model")
    given = parser.parse_args()
    print(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}\n")
    print(row(HEADINGS))
    print(row(["---"] * len(HEADINGS)))
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        for number, celery in enumerate(given.celery):
            environment = Path(folder) / str(number)
            cells = measure_installation(environment, wheel, celery)
            cells.append(round_trip(environment, given.redis_url) if given.redis_url else "not run")
            print(row(cells), flush=True)


def build_wheel(folder: Path) -> Path:
    """Build our wheel and return its path."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:  # a build leaves files beside the sources
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
    build = "import setuptools.build_meta as backend; backend.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("*.whl")
    return wheel


def measure_installation(environment: Path, wheel: Path, celery: str) -> list[str]:
    """Install into a new environment and return the cells of its row."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    megabytes = size_mb(environment)
    pip("install", str(wheel), celery, python=python)
    megabytes = size_mb(environment) - megabytes
    packages = installed(python)
    heavy = [name for name in ABSENT if name in packages]
    assert not heavy, f"the client installs {heavy}"
    runs = [probe(MADE, python) for _ in range(ROUNDS)]
    seconds, memory, cpu = (min(figure) for figure in zip(*runs, strict=True))
    alone = check(python)
    pip("install", str(wheel), celery, *NEIGHBOURS, python=python)
    both = installed(python)
    return [
        *(packages[name] for name in ("celery", "kombu", "redis")),
        *(str(len(packages)), f"{megabytes:.0f}", f"{seconds:.2f}", f"{cpu:.2f}", f"{memory:.0f}"),
        *(alone, f"{check(python)} ({', '.join(f'{n} {both[n]}' for n in NEIGHBOURS)})"),
    ]


def round_trip(environment: Path, redis_url: str) -> str:
    """Send images to a worker and read results and an error: whether that works."""
    command = [environment / "bin" / "python", "-c", ROUND_TRIP, redis_url, BALLOON]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return "works" if done.stdout.splitlines() == PRINTED else "fails"


def pip(*arguments: str, python: Path | None = None) -> str:
    """Run this environment's pip, for another environment if one is given."""
    place = ["--python", str(python)] if python else []
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *place]
    return subprocess.run(
        [*command, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def check(python: Path) -> str:
    """Run `pip check`: clean, or what it says."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "clean" if done.returncode == 0 else done.stdout.strip()


def installed(python: Path) -> dict[str, str]:
    """Return the version of each package in an environment."""
    listed = json.loads(pip("list", "--format", "json", python=python))
    return {one["name"].lower(): one["version"] for one in listed}


def size_mb(folder: Path) -> float:
    """Return what the files below a folder take on disk, in MB; compiled modules included."""
    files = (path.lstat() for path in folder.rglob("*") if not path.is_dir())
    return sum(file.st_blocks * 512 for file in files) / 1e6


def row(cells: list[str] | tuple[str, ...]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
