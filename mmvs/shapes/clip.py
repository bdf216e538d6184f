"""One clip of the embedded data set by its number: the scene and the sentences asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmvs.config import MovingShapes
from mmvs.shapes import rendering
from mmvs.shapes.cast import draw_cast, held_out
from mmvs.shapes.english import say
from mmvs.shapes.language import KINDS, Sentence, describable, weight
from mmvs.shapes.placement import place
from mmvs.shapes.rendering import Rendered
from mmvs.shapes.scene import Scene

SPLITS = {"train": 0, "test": 1, "unseen": 2, "silent": 3}  # silent: a clip that nobody speaks of
# Chances in the order of KINDS, so that about as many sentences are of each: recipes yield more or fewer,
# and other kinds beside their own. Unseen sentences are only those about a held-out combination.
RECIPES = {"unseen": (0.21, 0.36, 0.28, 0.15), "any other": (0.22, 0.17, 0.31, 0.30)}
OF_ITS_KIND = 3  # sentences of the recipe's kind in a clip, at most
ATTEMPTS = 2000


@dataclass(frozen=True)
class ShapesClip:
    """A scene, what is said of it, and the name under which each body is annotated."""

    video_id: str
    scene: Scene
    sentences: tuple[Sentence, ...]
    instance_ids: tuple[int, ...]  # of each body: any numbers, in no order


def draw_clip(settings: MovingShapes, split: str, index: int) -> ShapesClip:
    """Clip `index` of "train", "test", "unseen" or "silent": the same whatever was drawn before it.

    Train and test hold no held-out (shape, colour, motion); every sentence of unseen is about one.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': there are {', '.join(SPLITS)}")
    rng = _generator(settings, split, index, stream=0)
    kept_out = held_out(settings.seed)
    recipe = str(rng.choice(KINDS, p=RECIPES.get(split, RECIPES["any other"])))
    for _ in range(ATTEMPTS):
        cast = draw_cast(recipe, rng)
        shown = {(looks.shape, looks.colour, motion) for looks, program in cast for motion in program}
        if bool(shown & kept_out) != (split == "unseen"):
            continue
        scene = place(cast, (settings.height, settings.width), settings.frames, settings.camera, rng)
        if scene is None:
            continue
        targets = {i for i, b in enumerate(scene.bodies) if split != "unseen" or b.combinations & kept_out}
        sentences = _choose(scene, recipe, targets, rng)
        if any(sentence.kind == recipe for sentence in sentences):
            ids = tuple(int(i) for i in rng.choice(40, len(scene.bodies), replace=False))
            return ShapesClip(f"{split}{index:05d}", scene, sentences, ids)
    raise ValueError(
        f"clip {index} of {split}: no '{recipe}' scene fits {settings.height}x{settings.width} pixels and "
        f"{settings.frames} frames after {ATTEMPTS} attempts; make the picture larger"
    )


def render(settings: MovingShapes, split: str, index: int) -> Rendered:
    """Draw a clip with its masks and exact flow; frames are as they were before video compression."""
    return render_clip(settings, split, index, draw_clip(settings, split, index))


def render_clip(settings: MovingShapes, split: str, index: int, clip: ShapesClip) -> Rendered:
    """`render` for a clip that is drawn already."""
    return rendering.render(clip.scene, settings.noise, _generator(settings, split, index, stream=1))


def _generator(settings: MovingShapes, split: str, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, SPLITS[split], index, stream])


def _choose(scene: Scene, recipe: str, targets: set[int], rng: np.random.Generator) -> tuple[Sentence, ...]:
    """Three or four sentences if there are so many: the recipe's kind first, a target once of each kind."""
    served: dict[tuple[str, int], list] = {}
    for target, kind, description in describable(scene):
        if target in targets:
            served.setdefault((kind, target), []).append(description)
    order = [list(served)[i] for i in rng.permutation(len(served))]
    own = [key for key in order if key[0] == recipe]
    rest = [key for key in order if key[0] != recipe]
    total = rng.integers(3, 5)
    sentences = []
    for kind, target in [*own[:OF_ITS_KIND], *rest][:total]:
        descriptions = served[kind, target]
        chances = np.array([weight(scene, target, kind, d) for d in descriptions])
        description = descriptions[rng.choice(len(descriptions), p=chances / chances.sum())]
        sentences.append(Sentence(say(description, rng), target, kind, description))
    return tuple(sentences)
