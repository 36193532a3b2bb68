"""The templates that a question asks for."""

from __future__ import annotations

import pytest

from clip_engine.prompts import ensembles
from worker.contract import ClassifyRequest, parse
from worker.errors import InvalidRequestError
from worker.runtime.ensembles import templates_of


def question(**options: object) -> ClassifyRequest:
    return parse(ClassifyRequest, {"image": "data:,", "labels": ["cat"], **options})


@pytest.mark.parametrize("name", ["photo", "imagenet", "imagenet-simple"])
def test_a_name_stands_for_the_ensembles_templates(name):
    assert templates_of(question(ensemble=name)) == ensembles()[name]


def test_templates_in_full_count_as_they_are():
    assert templates_of(question()) == ensembles()["photo"]
    assert templates_of(question(template="{}!")) == ("{}!",)
    assert templates_of(question(templates=["{} a", "{} b"])) == ("{} a", "{} b")


def test_an_unknown_name_is_told_with_those_that_are_known():
    with pytest.raises(InvalidRequestError, match=r"'imagnet'; .* photo, imagenet, ") as caught:
        templates_of(question(ensemble="imagnet"))

    assert caught.value.code == "UNKNOWN_ENSEMBLE"
