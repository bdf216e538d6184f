"""A tiny model and random batches, shared by the tests of the model and its training."""

import torch

from mmvs.config import Model
from mmvs.model.network import Network
from mmvs.schema import Batch

NARROW = {"name": "narrow", "weights": None, "widths": [4, 6, 8, 8]}
VOCABULARY = 40


def model(**changes) -> Model:
    return Model(
        **{
            "width": 16,
            "heads": 2,
            "layers": 1,
            "dropout": 0.0,
            "level_widths": [8, 12, 16],
            "appearance_backbone": NARROW,
            "motion_backbone": NARROW | {"input": "uv"},
            "language": {"name": "small", "width": 16, "layers": 1, "heads": 2, "max_words": 12},
            **changes,
        }
    )


def network(**changes) -> Network:
    torch.manual_seed(0)
    return Network(model(**changes), VOCABULARY).eval()


def batch(clips=2, frames=3, height=32, width=48, words=7, per_clip=2, seed=0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    n = clips * per_clip
    ids = torch.randint(5, VOCABULARY, (n, words), generator=g)
    masks = torch.zeros(n, height, width)
    masks[:, 8:20, 8:24] = 1
    return Batch(
        frames=torch.randint(0, 256, (clips, frames, 3, height, width), dtype=torch.uint8, generator=g),
        flow=torch.randn(clips, frames, 2, height, width, generator=g),
        masks=masks,
        valid=torch.ones(clips, height, width, dtype=torch.bool),
        words=ids,
        words_mask=torch.ones(n, words, dtype=torch.bool),
        clip_of_sentence=torch.arange(clips).repeat_interleave(per_clip),
        target=frames // 2,
        samples=list(range(n)),
        original_sizes=[(height, width)] * clips,
    )
