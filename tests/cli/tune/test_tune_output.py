"""What `clip-worker tune` reads, prints and writes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from worker.cli.entry import run
from worker.cli.output.screen import Screen
from worker.cli.output.usage_error import WrongInputError
from worker.cli.tune import resources
from worker.cli.tune.agreement import Agreement
from worker.cli.tune.configuration import Configuration
from worker.cli.tune.images import sample_images, spread
from worker.cli.tune.measurement import Measurement, Round
from worker.cli.tune.progress import Progress
from worker.cli.tune.settings_file import check_output, settings_text
from worker.cli.tune.table import tables

MEASURED = [
    Measurement(
        Configuration(),
        rounds=(Round(1000, 10.0, 0.0123, 1_234_567_890, None),),
        latencies_s=(0.005, 0.006, 1.5),
        agreement=Agreement(512, 1.0, 1.0, 1.0, 0.0, 0.0),
    ),
    Measurement(
        Configuration(precision="bfloat16", max_batch=16, workers=2),
        rounds=(Round(153, 10.0, None, None, None),),
        latencies_s=(0.005,),
        agreement=Agreement(512, 0.998, 0.99, 0.981, 0.0021, 0.0123),
    ),
    Measurement(Configuration(precision="int8"), failure="It does not fit into memory."),
]


def test_one_table_in_markdown_has_everything():
    [lines] = tables(MEASURED, "defaults", None)

    assert len({len(line) for line in lines}) == 1
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == [
        *("settings", "images/s", "p50, ms", "p99, ms", "CPU, ms", "memory, MB"),
        *("top-1", "top-5", "in order", "change p99", "largest"),
    ]
    assert rows[2][:6] == ["defaults", "100", "6.0", "1,500", "12.3", "1,235"]
    assert rows[3] == [
        *("bfloat16, batch 16, 2 workers", "15.3", "5.0", "5.0", "-", "-"),
        *("99.8%", "99.0%", "98.1%", "0.0021", "0.0123"),
    ]
    assert rows[4] == ["int8"] + 10 * ["-"]


def test_a_narrow_terminal_gets_two_tables_and_a_wide_one_gets_one():
    [whole] = tables(MEASURED, "defaults", 200)
    speed, accuracy = tables(MEASURED, "defaults", len(whole[0]) - 1)

    assert max(map(len, speed + accuracy)) < 100
    assert [line.split("|")[1] for line in speed] == [line.split("|")[1] for line in accuracy]


def test_the_progress_line_is_erased_on_a_terminal_and_is_a_line_elsewhere(capsys):
    for is_terminal in (True, False):
        with Progress(Screen(sys.stderr, is_terminal, 60), 100.0) as progress:
            progress.update("measuring " + 40 * "x", 50.0)
            progress.update("measuring y", 150.0)

    printed = capsys.readouterr().err
    on_terminal, _, elsewhere = printed.rpartition("\r")
    lines = on_terminal.split("\r")
    assert all(len(line) < 60 for line in lines)
    assert "about 50 s left: measuring xxx" in lines[1]
    assert lines[2].rstrip().endswith("about 0 s left: measuring y")
    assert not lines[3].strip()
    assert elsewhere.splitlines()[1] == "clip-worker: measuring y (about 0 s left)"


def test_a_shell_reads_the_settings_file(tmp_path):
    variables = {
        "CLIP_WORKER_MODEL": "a $HOME \\ model.pt",
        "CLIP_WORKER_DEVICE": "cuda:GPU-12ab",
        "CLIP_WORKER_MAX_BATCH": "16",
    }
    file = tmp_path / "clip-worker.env"
    file.write_text(settings_text(variables, ["Measured 'today'.", "It's $(false)."]), "utf-8")

    script = f"set -a; . '{file}'; exec '{sys.executable}' -c 'import os; print(dict(os.environ))'"
    printed = subprocess.run(
        ["/bin/sh", "-ec", script], capture_output=True, text=True, check=True
    ).stdout

    environment = eval(printed)
    assert {name: environment[name] for name in variables} == variables


def test_a_value_that_readers_would_understand_differently_is_refused():
    with pytest.raises(WrongInputError, match=r"CLIP_WORKER_MODEL is .it's\.pt"):
        settings_text({"CLIP_WORKER_MODEL": "it's.pt"}, [])


def test_a_settings_file_is_replaced_only_by_force(tmp_path):
    file = tmp_path / "clip-worker.env"
    check_output(file, force=False)
    file.touch()
    check_output(file, force=True)

    with pytest.raises(WrongInputError, match="exists; give --force to replace it"):
        check_output(file, force=False)
    with pytest.raises(WrongInputError, match="There is no folder"):
        check_output(tmp_path / "none" / "file", force=True)


def test_a_sample_has_the_sizes_of_the_whole_and_is_the_same_each_time(tmp_path):
    for size in range(1, 101):
        below = tmp_path / str(size % 3)
        below.mkdir(exist_ok=True)
        (below / f"{size}.jpg").write_bytes(bytes(size))
    (tmp_path / "notes.txt").touch()

    uris, found = sample_images(tmp_path, 10)

    assert (len(uris), found) == (10, 100)
    sizes = [int(uri.rpartition("/")[2].removesuffix(".jpg")) for uri in uris]
    assert sorted((size - 1) // 10 for size in sizes) == list(range(10))
    assert sizes != sorted(sizes)
    assert sample_images(tmp_path, 10) == (uris, 100)
    assert len(sample_images(tmp_path, 200)[0]) == 100


def test_an_image_that_is_a_broken_link_is_in_the_sample(tmp_path):
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "none.jpg")

    assert sample_images(tmp_path, 5) == ([(tmp_path / "broken.jpg").as_uri()], 1)
    assert spread([], 5) == []


@pytest.mark.skipif(resources.cpu_s([]) is None, reason="needs /proc")
def test_memory_and_processor_time_of_another_process_count():
    script = (
        "import sys, time\n"
        "taken = bytearray(50_000_000)\n"
        "while time.process_time() < 0.3: pass\n"
        "print(flush=True); sys.stdin.read()"
    )
    before_bytes, before_s = resources.peak_bytes([]), resources.cpu_s([])
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with_it_bytes, with_it_s = (
            resources.peak_bytes([process.pid]),
            resources.cpu_s([process.pid]),
        )
        process.stdin.close()

    assert with_it_bytes - before_bytes >= 50_000_000
    assert with_it_s - before_s >= 0.25
    assert resources.peak_bytes([process.pid]) >= before_bytes  # it has ended, which is no error


@pytest.mark.skipif(resources.busy_s() is None, reason="needs /proc")
def test_the_time_of_all_programs_is_at_least_that_of_this_one():
    before_s = resources.busy_s()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass

    assert resources.busy_s() - before_s >= 0.2  # it is counted in hundredths, a core at a time


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.jpg").touch()
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "arguments", "sentence"),
    [
        (lambda _: None, ["--model", "no/such.pt"], "no/such.pt"),
        (lambda _: None, ["--device", "toaster"], "CLIP_WORKER_DEVICE is 'toaster'"),
        (lambda _: None, ["--precision", "float8"], "float8"),
        (lambda folder: (folder / "labels.txt").write_text(""), [], "has no labels"),
        (lambda folder: (folder / "labels.txt").write_text("cat\ncat"), [], "is there twice"),
        (lambda folder: (folder / "pictures/one.jpg").unlink(), [], "has no images"),
        (lambda folder: (folder / "clip-worker.env").touch(), [], "give --force to replace it"),
    ],
)
def test_wrong_input_is_one_sentence_before_anything_is_measured(
    folder, capsys, change, arguments, sentence
):
    change(folder)
    before = sorted(folder.rglob("*"))

    status = run(["tune", "--pictures", "pictures", "--labels", "labels.txt", *arguments])

    error = capsys.readouterr().err
    assert status == 2
    assert sentence in error
    assert "Traceback" not in error
    assert sorted(folder.rglob("*")) == before
