"""Names of label sets and of their versions: `animals` is the newest one, `animals@3` the third."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr

from clip_worker.contract.results import Wire
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote

_NUMBERED = re.compile(r"(?P<name>.+)@(?P<number>[0-9]+)", re.DOTALL)


class LabelSetVersion(Wire):
    """A version of a label set, as `Client.list_label_sets` lists it.

    Attributes:
        name: Of the set.
        number: 1 for the first version that was stored under the name, then 2, 3 and so on.
        version: 12 hexadecimal digits that depend only on the content.
        stored_at: Unix time in seconds.
    """

    name: StrictStr
    number: Annotated[StrictInt, Field(ge=1)]
    version: StrictStr
    stored_at: float

    @property
    def exact_name(self) -> str:
        """What a request says to get this version, such as `animals@3`."""
        return exact_name(self.name, self.number)


def split_version(name: str) -> tuple[str, int | None]:
    """The name of a set, and the number of a version if there is one.

    >>> split_version("animals@3"), split_version("animals"), split_version("me@home")
    (('animals', 3), ('animals', None), ('me@home', None))
    """
    found = _NUMBERED.fullmatch(name)
    return (found["name"], int(found["number"])) if found else (name, None)


def exact_name(name: str, number: int | None) -> str:
    """The name of a version that was read by whichever name.

    >>> exact_name("animals", 3), exact_name("animals@3", 3), exact_name("animals", None)
    ('animals@3', 'animals@3', 'animals')
    """
    return name if number is None else f"{split_version(name)[0]}@{number}"


def check_new_name(name: str) -> None:
    """Check that labels may be stored under a name.

    Raises:
        InvalidRequestError: It looks like the name of a version.
    """
    base, number = split_version(name)
    if number is not None:
        raise InvalidRequestError(
            f"The name {quote(name)} is that of a version, which never changes; store the labels "
            f"as {quote(base)}, which makes its next version."
        )
