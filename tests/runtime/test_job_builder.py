"""The templates that a request asks for."""

from __future__ import annotations

import pytest

from clip_engine.prompts import ensembles
from clip_worker.contract import ClassifyRequest, parse
from clip_worker.errors import InvalidRequestError
from worker.runtime.job_builder import tagging_request


def request(**options: object) -> ClassifyRequest:
    return parse(ClassifyRequest, {"image": "data:,", "labels": ["cat"], **options})


@pytest.mark.parametrize("name", ["photo", "imagenet", "imagenet-simple"])
def test_a_name_stands_for_the_ensembles_templates(name):
    assert tagging_request(request(ensemble=name)).templates == ensembles()[name]


def test_templates_in_full_count_as_they_are():
    assert tagging_request(request()).templates == ensembles()["photo"]
    assert tagging_request(request(template="{}!")).templates == ("{}!",)
    assert tagging_request(request(templates=["{} a", "{} b"])).templates == ("{} a", "{} b")


def test_an_unknown_name_is_told_with_those_that_are_known():
    with pytest.raises(InvalidRequestError, match=r"'imagnet'; .* photo, imagenet, ") as caught:
        tagging_request(request(ensemble="imagnet"))

    assert caught.value.code == "UNKNOWN_ENSEMBLE"
