"""Rebuild `constraints.txt`: the exact versions of all that `make setup` installs.

Asks pip what it would install for this Python and machine, newest versions first, and writes that
down; nothing is installed. Run it with the oldest Python that the project supports, on x86-64
Linux: what pip picks there exists for the newer ones too, and the packages that only Linux needs
are then listed, which harms nobody: a constraint never causes an installation.

    .venv/bin/python scripts/build_constraints.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ROOT / "constraints.txt"
WANTED = ("-e", ".[demo]", "--group", "dev", "--group", "bench")
LINUX_GPU = re.compile(r"(nvidia|cuda)-|triton$")
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
    text = HEADER + pinned(pins, set(pins) - gpu) + GPU_HEADER + pinned(pins, gpu)
    PRODUCT.write_text(text, encoding="utf-8")
    print(f"wrote {PRODUCT}: {len(pins)} packages")
    return 0


def resolve() -> dict[str, str]:
    """Return the version of each package that pip would install, without the project itself."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    answer = subprocess.run(
        [*command, "--report", "-", *WANTED], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    found = [item["metadata"] for item in json.loads(answer.stdout)["install"]]
    return {
        # A local part, as in 2.15.0+cpu, names one build; the others should satisfy the pin too.
        normalized(item["name"]): item["version"].partition("+")[0]
        for item in found
        if normalized(item["name"]) != "clip-worker"
    }


def normalized(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503): `Jinja2` -> `jinja2`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(pins: dict[str, str], names: set[str]) -> str:
    """Return one line a package, sorted: `amqp==5.4.2`."""
    return "".join(f"{name}=={pins[name]}\n" for name in sorted(names))


if __name__ == "__main__":
    sys.exit(main())
