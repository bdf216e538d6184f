"""One clip of the embedded data set by its number: the scene and its sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmvs.config import MovingShapes
from mmvs.shapes import rendering
from mmvs.shapes.cast import draw_cast, held_out
from mmvs.shapes.english import say
from mmvs.shapes.language import KINDS, Sentence, describe, weight
from mmvs.shapes.placement import place
from mmvs.shapes.rendering import Rendering
from mmvs.shapes.scene import Scene

SPLITS = {"train": 0, "test": 1, "unseen": 2, "silent": 3}  # silent: a clip that nobody speaks of
# Chances in the order of KINDS. They balance the kinds, as recipes yield more or fewer sentences, and other
# kinds beside their own: of all splits' sentences 23, 20, 21, 12, 10 and 14 in a hundred are of KINDS.
# Every sentence of the unseen split is about a held-out combination.
RECIPES = {
    "unseen": (0.242, 0.277, 0.234, 0.141, 0.078, 0.028),
    "any other": (0.178, 0.168, 0.267, 0.100, 0.128, 0.159),
}
OF_ITS_KIND = 3  # sentences of the recipe's kind in a clip, at most
ATTEMPTS = 2000


@dataclass(frozen=True)
class ShapesClip:
    """A scene, its sentences, and the name of each body in the annotations."""

    video_id: str
    scene: Scene
    sentences: tuple[Sentence, ...]
    instance_ids: tuple[int, ...]  # of each body: any numbers, in no order


def draw_clip(settings: MovingShapes, split: str, index: int) -> ShapesClip:
    """Draw clip `index` of "train", "test", "unseen" or "silent"; it does not depend on earlier draws.

    Train and test hold no held-out (shape, colour, motion); every sentence of unseen is about one. ValueError
    on another split, and where no scene fits the picture.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': there are {', '.join(SPLITS)}")
    rng = _generator(settings, split, index, stream=0)
    unseen = held_out(settings.seed)
    recipe = str(rng.choice(KINDS, p=RECIPES.get(split, RECIPES["any other"])))
    for _ in range(ATTEMPTS):
        cast = draw_cast(recipe, rng)
        combinations = {(looks.shape, looks.colour, motion) for looks, program in cast for motion in program}
        if bool(combinations & unseen) != (split == "unseen"):
            continue
        scene = place(cast, (settings.height, settings.width), settings.frames, settings.camera, rng)
        if scene is None:
            continue
        targets = {i for i, b in enumerate(scene.bodies) if split != "unseen" or b.combinations & unseen}
        sentences = _choose(scene, recipe, targets, rng)
        if any(sentence.kind == recipe for sentence in sentences):
            ids = tuple(int(i) for i in rng.choice(40, len(scene.bodies), replace=False))
            return ShapesClip(f"{split}{index:05d}", scene, sentences, ids)
    raise ValueError(
        f"clip {index} of {split}: no '{recipe}' scene fits {settings.height}x{settings.width} pixels and "
        f"{settings.frames} frames after {ATTEMPTS} attempts; make the picture larger"
    )


def render(settings: MovingShapes, split: str, index: int) -> Rendering:
    """Render a clip by its number: frames before video compression, masks and exact flow."""
    return render_clip(settings, split, index, draw_clip(settings, split, index))


def render_clip(settings: MovingShapes, split: str, index: int, clip: ShapesClip) -> Rendering:
    """Render a clip that `draw_clip` has drawn."""
    return rendering.render(clip.scene, settings.noise, _generator(settings, split, index, stream=1))


def _generator(settings: MovingShapes, split: str, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, SPLITS[split], index, stream])


def _choose(scene: Scene, recipe: str, targets: set[int], rng: np.random.Generator) -> tuple[Sentence, ...]:
    """Draw up to four sentences: three of the recipe's kind, one of another; a target once in each kind."""
    choices: dict[tuple[str, int], list] = {}
    for target, kind, description in describe(scene):
        if target in targets:
            choices.setdefault((kind, target), []).append(description)
    order = [list(choices)[i] for i in rng.permutation(len(choices))]
    own = [key for key in order if key[0] == recipe]
    rest = [key for key in order if key[0] != recipe]
    sentences = []
    for kind, target in [*own[:OF_ITS_KIND], *rest[:1]]:
        descriptions = choices[kind, target]
        chances = np.array([weight(scene, target, kind, d) for d in descriptions])
        description = descriptions[rng.choice(len(descriptions), p=chances / chances.sum())]
        sentences.append(Sentence(say(description, rng), target, kind, description))
    return tuple(sentences)
