"""English for descriptions of moving shapes: varied templates with synonyms.

A horizontal flip of a clip swaps the words left/right and leftwards/rightwards, and nothing else.
"""

from __future__ import annotations

import numpy as np

from mmvs.shapes.language import MOVING, Description
from mmvs.shapes.scene import Program

NOUNS = {
    None: ("thing", "object", "shape", "one"),
    "circle": ("circle", "circle", "disc"),
    "square": ("square", "square", "box"),
    "triangle": ("triangle",),
    "cross": ("cross", "cross", "plus"),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
WAYS = {
    "left": ("left", "to the left", "leftwards"),
    "right": ("right", "to the right", "rightwards"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
}
VERBS = (  # (it ..., it is ...)
    ("moves", "moving"),
    ("goes", "going"),
    ("travels", "travelling"),
    ("slides", "sliding"),
    ("drifts", "drifting"),
)
OTHER_VERBS = {  # beside a verb with one of the ways
    "up": (("rises", "rising"),),
    "down": (("falls", "falling"), ("sinks", "sinking")),
    "still": (
        ("stands still", "standing still"),
        ("does not move", "not moving"),
        ("stays in place", "staying in place"),
        ("stays still", "standing motionless"),
    ),
    "growing": (("grows", "growing"), ("gets bigger", "getting bigger"), ("expands", "expanding")),
    "spinning": (("spins", "spinning"), ("rotates", "rotating")),
}


def say(description: Description, rng: np.random.Generator) -> str:
    """Draw English for a description, one of many ways."""
    words = [_pick(SIZE_WORDS[description.size], rng)] if description.size else []
    words += [description.colour] if description.colour else []
    words += [_pick(NOUNS[description.shape], rng)]
    subject = " ".join(["a" if rng.random() < 0.15 and words != ["one"] else "the", *words])
    if description.motion:
        does, doing = _verb(description.motion, rng)
        clause = _pick((doing, doing, f"that {does}", f"that is {doing}", f"which is {doing}"), rng)
        return f"{subject} {clause}"
    if description.program:
        return f"{subject} {_pick(('that', 'that', 'which'), rng)} {_story(description.program, rng)}"
    return subject


def _story(program: Program, rng: np.random.Generator) -> str:
    first, second = program
    if program == (MOVING, "still"):
        return _pick(("stops", "comes to rest", "moves and then stops", "moves and then stands still"), rng)
    if program == ("still", MOVING):
        starts = ("starts moving", "starts to move", "begins to move", "stands still and then moves")
        return _pick(starts, rng)
    if first == second == "still":
        return _pick(("never moves", "stays still all the time", "stands still from start to end"), rng)
    if first == second:
        way = _pick(WAYS[first], rng)
        return _pick((f"keeps moving {way}", f"keeps going {way}", f"moves {way} all the time"), rng)
    does, then = _verb(first, rng)[0], _verb(second, rng)[0]
    if second == "still":
        return _pick((f"{does} and then stops", f"{does}, then stops", f"first {does}, then {then}"), rng)
    way = _pick(WAYS[second], rng)
    if first == "still":
        return _pick((f"{does} and then {then}", f"starts moving {way}", f"first {does}, then {then}"), rng)
    turns = f"{does}, then turns {way}"
    briefly = f"{_pick(VERBS, rng)[0]} {_pick(WAYS[first], rng)} and then {way}"
    return _pick((turns, briefly, f"{does} and then {then}", f"first {does}, then {then}"), rng)


def _verb(motion: str, rng: np.random.Generator) -> tuple[str, str]:
    """("moves left", "moving left") or the like."""
    others = OTHER_VERBS.get(motion, ())
    if motion not in WAYS or (others and rng.random() < 0.3):
        return _pick(others, rng)
    does, doing = _pick(VERBS, rng)
    way = _pick(WAYS[motion], rng)
    return f"{does} {way}", f"{doing} {way}"


def _pick(options, rng: np.random.Generator):
    return options[int(rng.integers(len(options)))]
