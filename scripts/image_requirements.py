"""Write the requirement files of the Docker image's layers, one file a layer.

torch and its CUDA libraries, gigabytes, get a layer of their own. Docker caches the layers by the
content of these files, so what does not change them rebuilds nothing.

    python scripts/image_requirements.py FOLDER [EXTRA,EXTRA]
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TORCH = ("torch==", "torchvision==")
GPU_HEADER = "# torch's CUDA libraries"  # of the last part of constraints.txt


def main() -> int:
    """Write the files into the folder that the command line names."""
    folder, extras = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    files = torch_layers(constraints) | {
        "worker.txt": requirements(project, extras),
        "constraints.txt": constraints.splitlines(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def torch_layers(constraints: str) -> dict[str, list[str]]:
    """Return the pins of torch's layer: for CPUs, and with the CUDA libraries."""
    others, _, gpu = constraints.partition(GPU_HEADER)
    torch = [line for line in others.splitlines() if line.startswith(TORCH)]
    libraries = [line for line in gpu.splitlines() if "==" in line]
    return {"torch-cpu.txt": torch, "torch-cuda.txt": torch + libraries}


def requirements(project: dict[str, Any], extras: str) -> list[str]:
    """Return what the worker with these extras needs, without the project itself."""
    optional = project["optional-dependencies"]
    wanted = ["worker", *(extra.strip() for extra in extras.split(",") if extra.strip())]
    if unknown := set(wanted) - set(optional):
        raise SystemExit(
            f"EXTRAS names {', '.join(sorted(unknown))}, which the package does not have; "
            f"it has {', '.join(optional)}"
        )
    own = str(project["name"])
    lines = [*project["dependencies"], *(line for extra in wanted for line in optional[extra])]
    return [line for line in lines if not line.startswith(f"{own}[")]


if __name__ == "__main__":
    sys.exit(main())
