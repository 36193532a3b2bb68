"""What the demo draws and shows, and how it measures its pace."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from clip_worker.contract import Prediction
from worker.cli.demo.contact_sheet import GAP, LINE, SIDE, THUMBNAIL, draw_mosaic, draw_tiles, stack
from worker.cli.demo.drawings import draw
from worker.cli.demo.live import PaceMeter
from worker.cli.demo.terminal_images import CHUNK, image_protocol, show_png

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def blue(tmp_path):
    path = tmp_path / "blue.png"
    Image.new("RGB", (40, 30), BLUE).save(path)
    return path


@pytest.fixture
def png():
    file = io.BytesIO()
    Image.effect_noise((90, 90), 80).save(file, "PNG")
    assert len(file.getvalue()) > CHUNK
    return file.getvalue()


def test_a_tile_has_the_image_above_a_bar_as_long_as_the_probability(blue):
    half = Prediction(label="blue", probability=0.5, index=0)
    # when
    sheet = draw_tiles([(blue, [half])])
    # then
    assert sheet.getpixel((GAP + SIDE // 2, GAP + SIDE // 2)) == BLUE
    bar = [sheet.getpixel((GAP + x, GAP + SIDE + 6 + 17)) for x in range(SIDE)]
    assert bar == [(26, 127, 55)] * (SIDE // 2) + [(255, 255, 255)] * (SIDE // 2)


def test_the_mosaic_frames_wrong_answers_only(blue):
    # when
    sheet = draw_mosaic([(blue, True), (blue, False)], "two")
    # then
    corners = [sheet.getpixel((GAP + i * THUMBNAIL, LINE)) for i in range(2)]
    assert corners == [BLUE, RED]
    assert sheet.getpixel((GAP + THUMBNAIL + THUMBNAIL // 2, LINE + THUMBNAIL // 2)) == BLUE


def test_images_are_stacked_in_their_order():
    # when
    both = stack([Image.new("RGB", (2, 3), RED), Image.new("RGB", (2, 4), BLUE)])
    # then
    assert (both.size, both.getpixel((0, 2)), both.getpixel((0, 3))) == ((2, 7), RED, BLUE)


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-1000/default,1,0"}, None),
    ],
)
def test_only_terminals_that_show_images_get_one(environment, protocol):
    assert image_protocol(environment) == protocol


def test_kitty_gets_the_whole_file_in_commands_of_the_size_that_it_takes(png):
    # when
    written = show_png(png, 80, "kitty")
    # then
    commands = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", written)
    keys = [dict(pair.split("=") for pair in options.split(",")) for options, _ in commands]
    assert keys[0] == {"a": "T", "f": "100", "q": "2", "c": "80", "m": "1"}
    assert [each["m"] for each in keys] == ["1"] * (len(keys) - 1) + ["0"]
    assert all(len(data) <= CHUNK and len(data) % 4 == 0 for _, data in commands)
    assert base64.b64decode("".join(data for _, data in commands)) == png


def test_iterm2_gets_the_whole_file_in_one_command(png):
    # when
    written = show_png(png, 500, "iterm2")
    # then
    [(options, data)] = re.findall(r"\x1b\]1337;File=([^:]*):([^\a]*)\a", written)
    assert options == f"inline=1;size={len(png)};width=120"
    assert base64.b64decode(data) == png


def test_drawings_are_the_same_each_time_and_have_one_right_label_among_others(tmp_path):
    # when
    first = [(each, each.path.read_bytes()) for each in draw(tmp_path, 40)]
    again = [(each, each.path.read_bytes()) for each in draw(tmp_path, 40)]
    # then
    assert first == again
    for drawing, _ in first:
        assert drawing.labels.count(drawing.answer) == 1
        assert len({*drawing.labels}) == len(drawing.labels) >= 4
    assert len({drawing.labels for drawing, _ in first}) > 10
    assert len({content for _, content in first}) == len(first)


def test_the_pace_is_that_of_the_last_second():
    seconds = iter([0.0, *[1.0] * 8, *[1.5] * 2, 2.5])
    meter = PaceMeter(clock=lambda: next(seconds))
    # when
    paces = [meter.count(size) for size in [8] * 8 + [2] * 2 + [1]]
    # then: by hand
    assert (paces[7].rate, paces[7].batch_size) == (8.0, 8.0)
    assert (paces[9].done, paces[9].rate, paces[9].batch_size) == (10, 10.0, 5.0)
    assert (paces[10].rate, paces[10].batch_size) == (3.0, 1.5)
