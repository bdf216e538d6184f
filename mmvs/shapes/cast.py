"""Who is in a clip: looks and motion programs, by recipe. Also: which combinations training never shows.

A recipe gives one kind of sentence its look-alikes and distractors. Nothing relies on the recipe: `language`
checks every sentence against the whole scene.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from mmvs.shapes.scene import COLOURS, DIRECTIONS, MOTIONS, SHAPES, SIZES, TEXTURES, Looks, Program

Cast = list[tuple[Looks, Program]]
STEADY = (*DIRECTIONS, "still")  # the motions of temporal programs
HELD_OUT_SHARE = 0.12
RARER = {"growing": 0.5, "spinning": 0.5}  # chance of a motion relative to the others


def held_out(seed: int) -> frozenset[tuple[str, str, str]]:
    """The (shape, colour, motion) combinations of the unseen split: at most one motion of each looks."""
    rng = np.random.default_rng([seed, 1_000_003])
    kinds = list(product(SHAPES, COLOURS))
    count = round(HELD_OUT_SHARE * len(kinds) * len(MOTIONS))
    draw = rng.permutation(len(kinds))[:count]
    motions = [m for _ in range(count // len(MOTIONS) + 1) for m in rng.permutation(MOTIONS)]
    return frozenset((*kinds[k], str(motion)) for k, motion in zip(draw, motions, strict=False))


def draw_cast(recipe: str, rng: np.random.Generator) -> Cast:
    """Draw three to five (looks, program) for sentences of a kind (language.KINDS)."""
    pool = _similar_looks(rng)
    recipes = {
        "appearance": _all_different,
        "motion": _look_alikes,
        "both": _shared,
        "temporal-constant": _reversed,
        "temporal-set": _not_reversed,
        "temporal-order": _reversed,
    }
    cast = recipes[recipe](pool, rng)
    spinning = {looks for looks, program in cast if looks.shape == "circle" and "spinning" in program}
    striped = {looks: Looks(looks.shape, looks.colour, looks.size, "stripes") for looks in spinning}
    cast = [(striped.get(looks, looks), program) for looks, program in cast]
    return [cast[i] for i in rng.permutation(len(cast))]


def _similar_looks(rng: np.random.Generator) -> list[Looks]:
    """Draw different looks in random order: one attribute is often enough, and others often share it."""
    shapes = rng.choice(SHAPES, rng.integers(2, 5), replace=False)
    colours = rng.choice(COLOURS, rng.integers(2, 6), replace=False)
    sizes = rng.permutation(SIZES)[: rng.integers(1, 3)]
    looks = [
        Looks(str(shape), str(colour), str(size), str(rng.choice(TEXTURES)))
        for shape, colour, size in product(shapes, colours, sizes)
    ]
    return [looks[i] for i in rng.permutation(len(looks))]


def _motions(rng: np.random.Generator) -> list[str]:
    """Draw all motions in random order, the rarer ones later as a rule."""
    chances = np.array([RARER.get(motion, 1.0) for motion in MOTIONS])
    return [str(m) for m in rng.choice(MOTIONS, len(MOTIONS), replace=False, p=chances / chances.sum())]


def _steady(motion: str) -> Program:
    return motion, motion


def _any_program(motions: list[str], rng: np.random.Generator) -> Program:
    """Draw a program: mostly a constant one, sometimes one that turns, stops or starts."""
    first, second = (str(m) for m in rng.choice(motions, 2, replace=False))
    changing = first in STEADY and second in STEADY and rng.random() < 0.4
    return (first, second) if changing else _steady(first)


def _all_different(pool: list[Looks], rng: np.random.Generator) -> Cast:
    """Everybody looks different; motions are free."""
    count = rng.choice((3, 4, 5), p=(0.4, 0.4, 0.2))
    return [(looks, _any_program(_motions(rng)[:3], rng)) for looks in pool[:count]]


def _look_alikes(pool: list[Looks], rng: np.random.Generator) -> Cast:
    """Three of the same looks with three motions, and others who do none of these."""
    motions = _motions(rng)
    trio = [(pool[0], _steady(motion)) for motion in motions[:3]]
    others = [(looks, _any_program(motions[3:6], rng)) for looks in pool[1 : 1 + rng.integers(0, 2)]]
    return trio + others


def _shared(pool: list[Looks], rng: np.random.Generator) -> Cast:
    """A trio or pair of look-alikes, and others who share their motions."""
    motions = _motions(rng)[:3]
    alike, others = ((3, 2), (3, 1), (2, 2))[rng.choice(3, p=(0.2, 0.4, 0.4))]
    cast = [(pool[0], _steady(motion)) for motion in motions[:alike]]
    theirs = rng.permutation(motions[:alike] if alike >= others else motions)[:others]
    twins = rng.random() < 0.7  # the others look alike, too
    whose = [pool[1 if twins else min(1 + i, len(pool) - 1)] for i in range(others)]
    return cast + [(looks, _steady(str(motion))) for looks, motion in zip(whose, theirs, strict=True)]


def _reversed(pool: list[Looks], rng: np.random.Generator) -> Cast:
    """Four look-alikes with all programs over two motions: two change, each the reverse of the other."""
    motions = (str(m) for m in rng.choice(STEADY, 2, replace=False))
    return [(pool[0], program) for program in product(motions, repeat=2)]


def _not_reversed(pool: list[Looks], rng: np.random.Generator) -> Cast:
    """Look-alikes, of whom two move alike at every moment, and nobody shows another's motions in reverse.

    With four programs from either of two motions to either of two others everyone is such a target; with
    three, one is.
    """
    if rng.random() < 0.7:
        motions = [str(m) for m in rng.choice(STEADY, 4, replace=False)]
        return [(pool[0], program) for program in product(motions[:2], motions[2:])]
    first, second = (str(m) for m in rng.choice(STEADY, 2, replace=False))
    after = str(rng.choice([m for m in STEADY if m != second]))
    before = str(rng.choice([m for m in STEADY if m != first]))
    programs = [(first, second), (first, after), (before, second)]
    others = [(looks, _any_program(_motions(rng)[:3], rng)) for looks in pool[1 : 1 + rng.integers(0, 2)]]
    return [(pool[0], program) for program in programs] + others
