"""Rebuild `constraints.txt`: the exact versions of all that `make setup` installs.

Asks pip what it would install for this Python and machine, newest versions first, and writes that
down; nothing is installed. Run it with the oldest Python that the project supports, on x86-64
Linux: what pip picks there mostly exists for the newer ones too; where it has no wheel for the
newest Python, that one gets a pin of its own. The packages that only Linux needs are then listed,
which harms nobody: a constraint never causes an installation.

    .venv/bin/python scripts/build_constraints.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ROOT / "constraints.txt"
NEWEST = "3.15"
WANTED = ("-e", ".[demo]", "--group", "dev", "--group", "bench")
LINUX_GPU = re.compile(r"nvidia-(?!ml-py)|cuda-|triton$")
HEADER = f"""\
# What the tests last ran with: `pip install -c constraints.txt ...` installs these versions.
# scripts/build_constraints.py wrote this with Python {sys.version_info[0]}.{sys.version_info[1]}; \
CONTRIBUTING.md says when to run it.
"""
GPU_HEADER = "\n# torch's CUDA libraries; installed on Linux only.\n"


def main() -> int:
    """Resolve, then write the product."""
    pins = resolve()
    gpu = {name for name in pins if LINUX_GPU.match(name)}
    newer = without_wheel(pins)
    text = HEADER + pinned(pins, newer, set(pins) - gpu) + GPU_HEADER + pinned(pins, newer, gpu)
    PRODUCT.write_text(text, encoding="utf-8")
    print(f"wrote {PRODUCT}: {len(pins)} packages")
    return 0


def resolve() -> dict[str, str]:
    """Return the version of each package that pip would install, without the project itself."""
    pins = report(*WANTED, check=True)
    del pins["clip-worker"]
    return pins


def without_wheel(pins: dict[str, str]) -> dict[str, str]:
    """Return versions for the newest Python where the pinned one has no wheel for it.

    What has no wheel in any version (lupa, in November 2026) keeps its pin and is built there.
    """
    for_newest = ("--no-deps", "--only-binary", ":all:", "--python-version", NEWEST)
    target = ("--target", tempfile.gettempdir())  # pip asks for one; a dry run writes nothing there
    newer: dict[str, str] = {}
    for name, version in sorted(pins.items()):
        if not report(*for_newest, *target, f"{name}=={version}"):
            newer |= report(*for_newest, *target, name)
    return newer


def report(*wanted: str, check: bool = False) -> dict[str, str]:
    """Return name and version of all that pip would install; nothing if it finds no way."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    answer = subprocess.run(
        [*command, "--report", "-", *wanted],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=None if check else subprocess.DEVNULL,
        check=check,
    )
    found = [item["metadata"] for item in json.loads(answer.stdout or '{"install": []}')["install"]]
    # A local part, as in 2.15.0+cpu, names one build; the others should satisfy the pin too.
    return {normalized(item["name"]): item["version"].partition("+")[0] for item in found}


def normalized(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503): `Jinja2` -> `jinja2`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(pins: dict[str, str], newer: dict[str, str], names: set[str]) -> str:
    """Return one line a package, sorted: `amqp==5.4.2`; two where the newest Python has its own."""
    lines: list[str] = []
    for name in sorted(names):
        if name in newer:
            lines.append(f"{name}=={pins[name]}; python_version < '{NEWEST}'\n")
            lines.append(f"{name}=={newer[name]}; python_version >= '{NEWEST}'\n")
        else:
            lines.append(f"{name}=={pins[name]}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
