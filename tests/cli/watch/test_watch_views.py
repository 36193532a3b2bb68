"""What `clip-worker watch` shows: lines of a log, or a live view on a terminal."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from rich.console import Console
from support.fake_clock import FakeClock
from support.progress import classified, failed, progress_of

from clip_worker.bulk.progress import Progress
from worker.cli.output.thumbnails import Picture
from worker.cli.watch.lines import LINE_S, ProgressLines
from worker.cli.watch.live import LiveView


@pytest.fixture
def clock():
    return FakeClock()


def test_a_line_is_written_every_few_seconds_if_something_has_changed(clock):
    lines: list[str] = []
    view = ProgressLines(lines.append, clock)
    progress = progress_of(classified("a.jpg"))

    view.show(progress)
    assert lines == ["1 done, 0 failed, 3 waiting, 0.0 images/s"]
    progress.note([classified("b.jpg")])
    view.show(progress)  # too early
    clock.sleep(LINE_S)
    view.show(progress)
    clock.sleep(LINE_S)
    view.show(progress)  # nothing has changed

    assert lines[1:] == ["2 done, 0 failed, 3 waiting, 0.0 images/s"]


def test_images_that_nobody_works_on_have_a_hint_once(clock):
    # given
    lines: list[str] = []
    view = ProgressLines(lines.append, clock)
    progress = Progress(in_flight=3, clock=clock)
    progress.begin(0, 0)
    # when
    for _ in range(6):
        progress.sample()
        view.show(progress)
        clock.sleep(LINE_S)
    # then
    hint = "No image has ended for 30 s; check that a worker is running (`clip-worker status`)."
    assert lines == ["0 done, 0 failed, 3 waiting, 0.0 images/s", hint]
    assert hint[:40] in shown(progress)
    # when one has ended
    progress.note([classified("a.jpg")])
    # then
    assert hint[:40] not in shown(progress)


def test_each_failure_has_a_line_without_secrets(clock):
    lines: list[str] = []
    view = ProgressLines(lines.append, clock)
    progress = progress_of(failed("https://example.com/a.jpg?sig=secret", 1.0))
    view.show(progress)
    progress.note([failed("b.jpg", 2.0)])
    clock.sleep(LINE_S)
    view.show(progress)

    assert [line for line in lines if line.startswith("failed")] == [
        "failed: 'https://example.com/a.jpg?...': It is no image. [DECODE_BROKEN]",
        "failed: 'b.jpg': It is no image. [DECODE_BROKEN]",
    ]


def test_an_error_of_a_worker_can_not_control_the_terminal(clock):
    lines: list[str] = []
    row = failed("a.jpg", message="\x1b]0;title\x07It is no image.")
    ProgressLines(lines.append, clock).show(progress_of(row))

    assert lines[0] == "failed: 'a.jpg': \ufffd]0;title\ufffdIt is no image. [DECODE_BROKEN]"


def shown(progress, width: int = 100, colours: str | None = None) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=40, color_system=colours)
    with LiveView(console, "/srv/uploads to results.jsonl") as view:
        view.show(progress)
    return file.getvalue()


def test_the_live_view_has_counts_and_the_newest_images(tmp_path):
    text = shown(
        progress_of(classified("old.jpg"), failed("bad.jpg"), classified("new\x1b[31m.jpg"))
    )

    assert "3 waiting   2 done   1 failed" in text
    assert "/srv/uploads to results.jsonl" in text
    assert text.index("new") < text.index("bad.jpg") < text.index("old.jpg")
    assert "DECODE_BROKEN" in text
    assert "\x1b[31m.jpg" not in text


def test_a_run_that_stops_says_so():
    progress = progress_of()
    progress.is_stopping = True

    assert "stopping: waiting for images in flight" in shown(progress)
    progress.in_flight = 0
    assert "stopped" in shown(progress)


def test_local_images_are_drawn_where_there_are_colours(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 40), (255, 0, 0)).save(path)
    progress = progress_of(classified("red.png", path))

    assert "▀" not in shown(progress)
    assert "38;2;255;0;0" in shown(progress, colours="truecolor")


def test_a_narrow_terminal_gets_lines_that_fit(tmp_path):
    path = tmp_path / ("long" * 30 + ".png")
    Image.new("RGB", (4, 4)).save(path)
    plain = shown(progress_of(*[classified(str(path), path)] * 20), width=40)

    rows = [line for line in plain.split("\n") if "\x1b" not in line]
    assert rows
    assert max(map(len, rows)) <= 41


def test_a_file_that_is_gone_or_broken_is_drawn_black(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")

    for name in ("broken.png", "gone.png"):
        assert Picture.of(tmp_path / name, "").image.getpixel((0, 0)) == (0, 0, 0)
