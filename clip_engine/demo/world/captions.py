"""What the demo model has read: captions of scenes, whole or in part, in many wordings.

A *meaning* is the part of a scene that a caption tells: a value for some of the axes. On the
placement axis it may also be `"one"`, which is true of a single object wherever it is.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final, TypeAlias

from clip_engine.demo.world.scenes import AXES, COUNTS, POSITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator

    from clip_engine.demo.world.scenes import Scene

    Meaning: TypeAlias = Mapping[str, str]

ONE: Final = "one"
TEMPLATES: Final = (
    "a photo of a {}.",
    "a photo of {}.",
    "a picture of {}.",
    "an image of a {}",
    "a drawing of {}",
    "this is a {}.",
    "a {}",
    "{}.",
    "{}",
)
# The first wording of a value is the one that labels use.
WORDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "one": ("one", "single", "1"),
    "two": ("two", "2"),
    "three": ("three", "3"),
    "four": ("four", "4"),
    "left": ("on the left", "left", "at the left", "on the left side"),
    "right": ("on the right", "right", "at the right", "on the right side"),
    "top": ("at the top", "top", "on top"),
    "bottom": ("at the bottom", "bottom"),
    "centre": ("in the centre", "centre", "in the center", "center", "in the middle", "middle"),
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "medium-sized"),
    "large": ("large", "big", "huge"),
    "purple": ("purple", "violet"),
    "cyan": ("cyan", "turquoise"),
    "solid": ("solid", "plain"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
    "hollow": ("hollow", "outlined"),
    "moon": ("moon", "crescent"),
    "white": ("on a white background", "on white", "white background"),
    "black": ("on a black background", "on black", "black background"),
    "grey": ("on a grey background", "on grey", "grey background", "gray background"),
    "grass": ("on grass", "grass", "on a lawn"),
    "sand": ("on sand", "sand", "on a beach"),
    "night sky": ("in the night sky", "night sky", "at night"),
}
# A value by itself, as people write it in a list of labels; the first is again the plainest.
_BARE_WORDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    **{value: (value, *WORDINGS[value]) for value in POSITIONS},
    **{ground: (f"{ground} background", ground, f"on {ground}") for ground in ("white", "black")},
    "grey": ("grey background", "grey", "gray", "on grey"),
    **{ground: (ground, *WORDINGS[ground]) for ground in ("grass", "sand", "night sky")},
}
_PLURALS: Final = {"cross": "crosses"}
_NOUNS: Final = ("shape", "object")
_ADJECTIVES: Final = ("size", "colour", "texture")
_REWORD_CHANCE: Final = 0.35


def describe(scene: Scene) -> str:
    """The label that tells all of a scene.

    >>> from clip_engine.demo.world.scenes import Scene
    >>> describe(Scene("two", "small", "red", "striped", "cross", "grass"))
    'two small red striped crosses on grass'
    >>> describe(Scene("left", "small", "red", "striped", "cross", "grass"))
    'small red striped cross on the left on grass'
    """
    return label(asdict(scene))


def label(meaning: Meaning) -> str:
    """A meaning in the plainest words.

    >>> label({"colour": "red", "shape": "circle"})
    'red circle'
    >>> label({"placement": "three"})
    'three'
    """
    words = {value: choices[0] for value, choices in _wordings(meaning).items()}
    return _phrase(meaning, words, _ADJECTIVES, plural=meaning.get("placement") in COUNTS)


def caption(meaning: Meaning, rng: Generator, *, plural: bool) -> str:
    """A meaning in some wording, order of adjectives and template.

    Args:
        meaning: What to tell.
        rng: Picks the wording.
        plural: Whether the noun is plural where no count is named.
    """
    words = {value: _pick(choices, rng) for value, choices in _wordings(meaning).items()}
    order = [_ADJECTIVES[i] for i in rng.permutation(len(_ADJECTIVES))]
    if rng.random() < 0.5:
        order = list(_ADJECTIVES)
    placement = meaning.get("placement")
    plural = placement in COUNTS or (plural and placement is None)
    text = _phrase(meaning, words, order, plural=plural, noun=_NOUNS[int(rng.integers(2))])
    template = TEMPLATES[0] if rng.random() < 0.4 else TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    if not plural and placement != ONE and "a {}" not in template and rng.random() < 0.5:
        text = f"a {text}"
    return template.format(text)


def random_part(scene: Scene, rng: Generator) -> dict[str, str]:
    """A true meaning that leaves at least one axis out; one in three tells a single axis."""
    named = 1 if rng.random() < 0.35 else int(rng.integers(2, len(AXES)))
    axes = {AXES[i] for i in rng.choice(len(AXES), named, replace=False)}
    meaning = {axis: value for axis, value in asdict(scene).items() if axis in axes}
    if meaning.get("placement") in POSITIONS and rng.random() < 0.4:
        meaning["placement"] = ONE
    return meaning


def _wordings(meaning: Meaning) -> dict[str, Sequence[str]]:
    """The ways to say each value, the plainest first."""
    known = WORDINGS if len(meaning) > 1 else {**WORDINGS, **_BARE_WORDINGS}
    return {value: known.get(value, (value,)) for value in meaning.values()}


def _pick(choices: Sequence[str], rng: Generator) -> str:
    if rng.random() >= _REWORD_CHANCE:
        return choices[0]
    return choices[int(rng.integers(len(choices)))]


def _phrase(
    meaning: Meaning,
    words: Mapping[str, str],
    adjectives: Sequence[str],
    *,
    plural: bool,
    noun: str = "",
) -> str:
    """Count, adjectives, noun, position, ground: those of them that are given."""
    placement = meaning.get("placement", "")
    parts = [words[placement]] if placement in (ONE, *COUNTS) else []
    parts += [words[meaning[axis]] for axis in adjectives if axis in meaning]
    parts += _noun(meaning, words, noun, plural=plural)
    if placement in POSITIONS:
        parts.append(words[placement])
    if "background" in meaning:
        parts.append(words[meaning["background"]])
    return " ".join(parts)


def _noun(meaning: Meaning, words: Mapping[str, str], noun: str, *, plural: bool) -> list[str]:
    if "shape" in meaning:
        noun = words[meaning["shape"]]
    elif len(meaning) == 1:
        return []
    if not noun:
        return []
    return [_PLURALS.get(noun, noun + "s") if plural else noun]
