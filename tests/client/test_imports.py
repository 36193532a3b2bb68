"""What an application gets by `import clip_worker`, and under which names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import clip_worker
import worker.client
import worker.errors
from clip_worker import errors

ROOT = Path(__file__).parents[2]


def test_all_that_is_exported_can_be_imported():
    for name in clip_worker.__all__:
        assert getattr(clip_worker, name) is not None, name


def test_earlier_names_are_the_same_objects():
    for module, source in ((worker.errors, errors), (worker.client, clip_worker)):
        for name in module.__all__:
            assert getattr(module, name) is getattr(source, name), name
    assert {name for name in vars(errors) if name.endswith("Error")} == {*worker.errors.__all__}


def test_an_application_may_have_a_module_named_worker(tmp_path):
    (tmp_path / "worker.py").write_text("raise SystemExit('our own worker.py was imported')")
    code = (
        "import sys; sys.path.insert(0, '.'); from clip_worker import *; Client();"
        "import clip_worker.errors; print('worker' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
