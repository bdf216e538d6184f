"""What a clip of moving shapes is made of: bodies with looks and a motion program, before any pixel.

A program is two elementary motions. The first drives the flow of frames before the scene's `change`, the
second drives it from there on. Constant motion is a program with both the same.
Coordinates are pixels, x to the right and y down; velocities are pixels per frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
SIZES = ("small", "large")
TEXTURES = ("stripes", "checks", "speckles")
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
MOTIONS = (*DIRECTIONS, "still", "growing", "spinning")

REACH = 3  # frames: the flows at f - REACH and f + REACH of an annotated frame f exist and show both phases
REFERENCE = 64  # pixels: lengths below are for a picture whose shorter side is this, and scale with it

Program = tuple[str, str]
Pair = tuple[float, float]


@dataclass(frozen=True)
class Looks:
    """Everything that one frame shows of a body; only motion tells bodies of equal looks apart."""

    shape: str
    colour: str
    size: str
    texture: str


@dataclass(frozen=True)
class Body:
    """One object; pairs of motion values are (before the change, after it)."""

    looks: Looks
    program: Program
    radius: float  # pixels, at the change
    at: Pair  # centre at the change
    angle: float  # radians, at the change
    velocity: tuple[Pair, Pair]  # (vx, vy) before and after, without the camera's
    growth: Pair  # share of the radius per frame
    spin: Pair  # radians per frame

    @property
    def combinations(self) -> set[tuple[str, str, str]]:
        """The (shape, colour, motion) triples that this body shows."""
        return {(self.looks.shape, self.looks.colour, motion) for motion in self.program}


@dataclass(frozen=True)
class Scene:
    """A clip before rendering; later bodies are nearer and hide earlier ones."""

    bodies: tuple[Body, ...]
    change: int  # first frame whose flow is of the second phase
    annotated: tuple[int, ...]  # 0-based frames with masks, ascending
    camera: Pair  # drift of background and bodies alike, pixels per frame
    size: tuple[int, int]  # (H, W)
    frames: int

    def drift(self) -> np.ndarray:
        """(T, 2) displacement by the camera since the change, in pixels."""
        return np.outer(np.arange(self.frames) - self.change, self.camera)

    def track(self, body: Body) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A body's centres (T, 2) in pixels, scales (T,) relative to `radius`, and angles (T,) in radians."""
        since = np.arange(self.frames) - self.change
        phase = (since >= 0).astype(int)
        centres = np.asarray(body.at) + np.asarray(body.velocity)[phase] * since[:, None] + self.drift()
        # Growth pauses far from the change, so that long clips are not filled by one body.
        scales = np.exp(np.asarray(body.growth)[phase] * np.clip(since, -8, 8))
        return centres, scales, body.angle + np.asarray(body.spin)[phase] * since


def timing(frames: int, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
    """Draw the change and the annotated frames f of a clip of 9 `frames` or more.

    For every f: the flow at f - 3 is of the first phase, the flow at f + 3 of the second, and both exist.
    """
    first, last = REACH, frames - 2 - REACH
    gap = min(2, (last - first) // 2)
    middle = int(rng.integers(first + gap, last - gap + 1))
    change = middle + int(rng.integers(0, 2))
    annotated = (middle - gap, middle, middle + gap) if gap else (first, last)
    for f in annotated:
        assert 0 <= f - REACH < change <= f + REACH <= frames - 2, (frames, change, annotated)
    return change, annotated


def direction_of(motion: str, turn: float) -> Pair:
    """Unit vector of a motion, turned by `turn` radians; zero where the centre stays."""
    x, y = DIRECTIONS.get(motion, (0.0, 0.0))
    return x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
