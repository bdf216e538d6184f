"""Descriptions of a scene's bodies: whom they denote, and which kind of sentence they make.

appearance  the looks alone are unique
motion      at least two others look exactly the same; the motion, the same all through, is unique in the clip
both        others share the looks, others share the motion, nobody shares both
temporal-*  a program is unique, and the flow of no single frame tells whose: in either phase a look-alike
            moves alike. What tells, among the bodies whose looks fit the words:
  -constant the same motion all through: two frames, in any order
  -set      two motions that nobody shows in the reverse order: their set, whichever came first
  -order    two motions that somebody shows in the reverse order: only which came first
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from mmvs.shapes.scene import DIRECTIONS, Body, Program, Scene

TEMPORAL = ("temporal-constant", "temporal-set", "temporal-order")
KINDS = ("appearance", "motion", "both", *TEMPORAL)
MOVING = "moving"  # in a program: any direction


@dataclass(frozen=True)
class Description:
    """What a sentence says of its target; it does not mention what is None."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    motion: str | None = None  # without order: true of whoever does it at any time
    program: Program | None = None  # with order: true of exactly this program

    @property
    def looks(self) -> Description:
        """The same without motion."""
        return Description(self.shape, self.colour, self.size)

    @property
    def movement(self) -> Description:
        """The same without looks."""
        return Description(motion=self.motion, program=self.program)


@dataclass(frozen=True)
class Sentence:
    """An English sentence, its target's position among the scene's bodies, and what it says."""

    text: str
    target: int
    kind: str
    description: Description


def denotes(scene: Scene, description: Description) -> set[int]:
    """Positions of the bodies that fit the description."""
    return {i for i, body in enumerate(scene.bodies) if _true_of(body, description)}


def _true_of(body: Body, claim: Description) -> bool:
    for attribute in ("shape", "colour", "size"):
        if getattr(claim, attribute) not in (None, getattr(body.looks, attribute)):
            return False
    if claim.motion is not None and claim.motion not in body.program:
        return False
    return claim.program is None or all(map(fits, claim.program, body.program))


def fits(claim: str, motion: str) -> bool:
    """Is a motion what a program's word claims? `moving` is any direction."""
    return motion in DIRECTIONS if claim == MOVING else motion == claim


def kind_of(scene: Scene, target: int, description: Description) -> str | None:
    """The kind of sentence that the description makes for this target; None where it does not serve."""
    body = scene.bodies[target]
    if denotes(scene, description) != {target}:
        return None
    if description.size and any("growing" in other.program for other in scene.bodies):
        return None  # who grows has no lasting size
    alike = [b for i, b in enumerate(scene.bodies) if i != target and b.looks == body.looks]
    if description.program:
        in_each_phase = (any(b.program[k] == body.program[k] for b in alike) for k in range(2))
        return _temporal_kind(scene, description) if all(in_each_phase) else None
    if description.motion is None:
        return "appearance"
    if body.program[0] != body.program[1]:
        return None
    if denotes(scene, description.movement) == {target}:
        return "motion" if len(alike) >= 2 else None
    return "both" if len(denotes(scene, description.looks)) >= 2 else None


def _temporal_kind(scene: Scene, description: Description) -> str:
    first, second = description.program
    if first == second:
        return "temporal-constant"
    reverse = replace(description, program=(second, first))
    return "temporal-order" if denotes(scene, reverse) else "temporal-set"


def describe(scene: Scene) -> list[tuple[int, str, Description]]:
    """Every (target, kind, description) that serves, in a fixed order."""
    choices = []
    for target, body in enumerate(scene.bodies):
        looks = body.looks
        for shape, colour, size in product((looks.shape, None), (looks.colour, None), (looks.size, None)):
            for motion, program in _movements(body):
                description = Description(shape, colour, size, motion, program)
                if kind := kind_of(scene, target, description):
                    choices.append((target, kind, description))
    return choices


def _movements(body: Body) -> list[tuple[str | None, Program | None]]:
    """Every (motion, program) that is true of a body, None where a description leaves it out."""
    first, second = body.program
    movements: list[tuple[str | None, Program | None]] = [(None, None)]
    if first == second:
        movements.append((first, None))
    if first in (*DIRECTIONS, "still") and second in (*DIRECTIONS, "still"):
        movements.append((None, body.program))
        if first != second and "still" in body.program:
            movements.append((None, (MOVING, second) if second == "still" else (first, MOVING)))
    return movements


def weight(scene: Scene, target: int, kind: str, description: Description) -> float:
    """Relative chance of a description: short ones weigh more, and those with a shape where it counts."""
    value = 1.0
    for attribute in ("shape", "colour", "size"):
        if getattr(description, attribute) is None:
            continue
        without = Description(**{**vars(description), attribute: None})
        needed = kind_of(scene, target, without) != kind
        value *= (4.0 if attribute == "shape" else 1.5) if needed else 0.5
    return value
