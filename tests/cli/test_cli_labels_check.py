"""`clip-worker labels check`, with the demo model."""

from __future__ import annotations

import json
import re

import pytest
from support.tiny_clip import write_tiny

from worker.cli.entry import run


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Checks a file of these labels; the exit status, and the lines of output and errors."""
    monkeypatch.setenv("CLIP_WORKER_MODEL", "demo")
    monkeypatch.setenv("CLIP_WORKER_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)

    def check(content: str, *arguments: str):
        (tmp_path / "labels.txt").write_text(content)
        status = run(["labels", "check", "labels.txt", *arguments])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return check


def test_findings_are_printed_with_file_line_kind_reason_and_remedy(check):
    status, lines, errors = check("# shapes\nviolet moon\n\nred circle\nRed Circle\npurple moon\n")

    assert (status, errors) == (1, [])
    duplicate, near, summary = lines
    assert duplicate == (
        "labels.txt:5: duplicate: 'Red Circle' differs only in case, spaces or Unicode form from "
        "'red circle' (line 4); remove one of the two."
    )
    assert re.fullmatch(
        r"labels.txt:6: near-synonym: 'purple moon' means nearly the same to this model as "
        r"'violet moon' \(line 2\): a picture that fits one perfectly gives the other 4.%; "
        r"keep one of the two\.",
        near,
    )
    assert summary == "Checked 4 labels with the model demo: 2 findings."


def test_json_has_an_object_a_line(check):
    status, [line], _ = check("violet moon\npurple moon\n", "--json")

    found = json.loads(line)
    assert status == 1
    assert found.pop("share") == pytest.approx(0.49, abs=0.01)
    assert found.pop("reason").startswith("means nearly the same to this model as 'violet moon'")
    assert found == {
        "line": 2,
        "label": "purple moon",
        "kind": "near-synonym",
        "suggestion": "keep one of the two",
        "other": {"line": 1, "label": "violet moon"},
    }


@pytest.mark.parametrize(("arguments", "by"), [([], " with the model demo"), (["--no-model"], "")])
def test_clean_labels_have_status_0(check, arguments, by):
    expected = f"Checked 2 labels{by}: no findings."

    assert check("red circle\nblue moon\n", *arguments) == (0, [expected], [])


def test_without_a_model_only_the_wording_is_checked(check, monkeypatch):
    monkeypatch.setenv("CLIP_WORKER_MODEL", "/no/such/model")

    status, lines, _ = check("violet moon\npurple moon\npurple_moon\n", "--no-model")

    assert (status, len(lines)) == (1, 2)
    assert lines[0].startswith("labels.txt:3: wording:")


def test_the_model_may_be_an_option(check, tmp_path):
    _, lines, _ = check("red circle\n", "--model", str(write_tiny(tmp_path)))

    assert lines == ["Checked 1 label with the model tiny: no findings."]


def test_templates_and_ensembles_count(check):
    assert check("a cat\n", "--no-model")[0] == 1
    assert check("a cat\n", "--no-model", "--template", "{}", "--templates", "this: {}")[0] == 0
    assert check("a cat\n", "--no-model", "--ensemble", "imagenet")[0] == 0
    long = "red " * 70
    assert check(f"{long}\n", "--template", "{}")[0] == 0
    assert "75" in check(f"{long}\n", "--template", "a very long prompt in many words of {}")[1][0]


def test_paths_are_checked_as_a_hierarchy(check):
    status, lines, _ = check("animal > bat\nsport > bat\n", "--no-model", "--hierarchical")

    assert status == 1
    assert lines[0] == (
        "labels.txt:2: duplicate: 'sport > bat' has the same last name, and thus the same prompt, "
        "as 'animal > bat' (line 1); give them different last names, as in 'baseball bat'."
    )


@pytest.mark.parametrize(
    ("content", "arguments", "error"),
    [
        ("", ["--no-model"], "has no labels"),
        ("cat\n", ["--model", "ViT-B/33"], "ViT-B/33"),
        ("cat\n", ["--model", "demo", "--no-model"], "Give --model or --no-model, not both."),
        ("cat\n", ["--template", "no place"], "0 placeholders"),
        ("cat\n", ["--template", "{}", "--ensemble", "photo"], "give only one"),
        ("cat\n", ["--ensemble", "imagent"], "Unknown ensemble 'imagent'"),
    ],
)
def test_invalid_input_has_status_2_and_a_sentence(check, content, arguments, error):
    status, lines, [sentence] = check(content, *arguments)

    assert (status, lines) == (2, [])
    assert error in sentence
