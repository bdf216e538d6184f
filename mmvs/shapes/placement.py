"""Where the bodies of a cast are and how they go: inside the picture, visible enough, sometimes crossing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmvs.shapes.cast import Cast
from mmvs.shapes.rendering import visible
from mmvs.shapes.scene import REACH, REFERENCE, Body, Looks, Program, Scene, direction_of, timing

RADII = {"small": (6.4, 7.2), "large": (9.6, 10.6)}  # reference pixels
SPEED = (1.3, 2.3)  # reference pixels per frame
SPIN = (10.0, 14.0)  # degrees per frame
GROWTH = 0.05  # of the radius, per frame
WOBBLE = 12.0  # degrees: how far a direction may be off
SHARE = 0.65  # of a body that is visible in every annotated frame, at least
CROSSING = 0.3  # chance that a clip must have bodies that pass behind each other
TRIALS = 96


def place(
    cast: Cast, size: tuple[int, int], frames: int, camera: float, rng: np.random.Generator
) -> Scene | None:
    """Draw a scene with this cast, nearer bodies later; None where the cast does not fit.

    size    (H, W) pixels
    frames  T of the clip
    camera  largest drift, pixels per frame
    """
    unit = min(size) / REFERENCE
    everyone = dict.fromkeys(looks for looks, _ in cast)  # each looks once, in order
    radii = {looks: unit * rng.uniform(*RADII[looks.size]) for looks in everyone}
    change, annotated = timing(frames, rng)
    drift, heading = rng.uniform(0, camera), rng.uniform(0, 2 * np.pi)
    bodies = tuple(_body(looks, program, radii[looks], unit, rng) for looks, program in cast)
    camera_velocity = (drift * np.cos(heading), drift * np.sin(heading))
    scene = Scene(bodies, change, annotated, camera_velocity, size, frames)
    wants_crossing = rng.random() < CROSSING
    for positions in _promising(scene, wants_crossing, rng):
        pairs = zip(bodies, positions, strict=True)
        placed = tuple(replace(body, at=(float(x), float(y))) for body, (x, y) in pairs)
        candidate = replace(scene, bodies=placed)
        if _visible_enough(candidate):
            return candidate
    return None


def _body(looks: Looks, program: Program, radius: float, unit: float, rng: np.random.Generator) -> Body:
    speed = unit * rng.uniform(*SPEED)
    wobble = [np.radians(rng.uniform(-WOBBLE, WOBBLE)) for _ in program]
    if program[0] == program[1]:
        wobble[1] = wobble[0]
    heading = [direction_of(motion, turn) for motion, turn in zip(program, wobble, strict=True)]
    spin = np.radians(rng.uniform(*SPIN)) * rng.choice((-1, 1))
    # Everyone is tilted a little: an upright body among tilted ones would betray who does not spin.
    tilt = rng.uniform(-0.25, 0.25)
    velocity = tuple((float(speed * x), float(speed * y)) for x, y in heading)
    growth = tuple(GROWTH * (motion == "growing") for motion in program)
    spins = tuple(float(spin) * (motion == "spinning") for motion in program)
    return Body(looks, program, radius, (0.0, 0.0), tilt, velocity, growth, spins)


def window(scene: Scene) -> slice:
    """Frames that matter to some annotated frame; in these everyone's centre is inside the picture."""
    return slice(scene.annotated[0] - REACH, scene.annotated[-1] + REACH + 1)


def _promising(scene: Scene, crossing: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw a few (n, 2) positions that are good if bodies were discs."""
    height, width = scene.size
    when = window(scene)
    paths = np.stack([scene.track(body)[0][when] for body in scene.bodies])  # (n, t, 2) from the origin
    reach = np.stack([body.radius * scene.track(body)[1][when] for body in scene.bodies])
    margin = 0.75 * np.array([[body.radius] for body in scene.bodies])
    low, high = margin - paths.min(1), np.array([width - 1, height - 1]) - margin - paths.max(1)
    if (low > high).any():
        return []
    at = low + rng.random((TRIALS, *low.shape)) * (high - low)
    centres = at[:, :, None] + paths  # (k, n, t, 2)
    first, second = np.triu_indices(len(at[0]), 1)
    apart = np.linalg.norm(centres[:, first] - centres[:, second], axis=-1) / (reach[first] + reach[second])
    annotated = [f - when.start for f in scene.annotated]
    closest_annotated = apart[:, :, annotated].min((1, 2))
    closest = apart.min((1, 2))
    good = (closest_annotated > 0.75) & ((closest < 0.95) == crossing)
    # Without a crossing the clearest comes first; with one, any.
    order = np.argsort(-np.where(crossing, rng.random(TRIALS), closest), kind="stable")
    return [at[k] for k in order if good[k]][:6]


def _visible_enough(scene: Scene) -> bool:
    masks = visible(scene, scene.annotated)
    for body, mask in zip(scene.bodies, masks, strict=True):
        whole = 2.9 * (body.radius * scene.track(body)[1][list(scene.annotated)]) ** 2  # of any shape, about
        if (mask.sum((1, 2)) < SHARE * whole).any():
            return False
    return True
