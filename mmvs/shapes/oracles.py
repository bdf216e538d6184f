"""What cheaper knowledge than a whole clip reaches: choosers that know the truth, but only a part of it.

Each knows what the sentence says; of the bodies it knows their looks, or their looks and the motion in one of
the two phases, or their looks and which motions they show, whichever came first. Of the bodies that may be
meant it picks one blindly. A network that selects no more often has not shown that it uses more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from mmvs.config import MovingShapes
from mmvs.shapes.clip import draw_clip
from mmvs.shapes.language import TEMPORAL, Description, denotes, fits
from mmvs.shapes.scene import Scene

Chooser = Callable[[Scene, Description], float]  # → the chance that it picks the right body


def looks_alone(scene: Scene, claim: Description) -> float:
    """A chooser that knows the looks."""
    return 1 / len(denotes(scene, claim.looks))


def one_flow_field(scene: Scene, claim: Description) -> float:
    """A chooser that knows looks, and the motion in one phase: mean of the first and the second."""
    said = claim.program or (claim.motion, claim.motion)
    alike = denotes(scene, claim.looks)
    seen = [
        [i for i in alike if said[k] is None or fits(said[k], scene.bodies[i].program[k])] for k in range(2)
    ]
    return float(np.mean([1 / len(fitting) for fitting in seen]))


def set_of_motions(scene: Scene, claim: Description) -> float:
    """A chooser that knows looks, and which motions a body shows, without their order."""
    either = denotes(scene, claim)
    if claim.program:
        either = either | denotes(scene, replace(claim, program=claim.program[::-1]))
    return 1 / len(either)


CHOOSERS: dict[str, Chooser] = {
    "looks alone": looks_alone,
    "flow of one frame": one_flow_field,
    "set of motions": set_of_motions,
}


def selection(settings: MovingShapes, split: str, clips: int) -> pd.DataFrame:
    """How often each chooser picks the right body, mean over the sentences of a split.

    Returns a table: rows `all`, kinds of sentences and `temporal` for all temporal kinds; columns CHOOSERS.
    """
    rows = []
    for index in range(clips):
        clip = draw_clip(settings, split, index)
        for sentence in clip.sentences:
            chances = {name: chance(clip.scene, sentence.description) for name, chance in CHOOSERS.items()}
            kinds = ["all", sentence.kind, *(["temporal"] if sentence.kind in TEMPORAL else [])]
            rows += [{"kind": kind, **chances} for kind in kinds]
    return pd.DataFrame(rows).groupby("kind")[list(CHOOSERS)].mean()
