"""Moving shapes: the embedded data set, made from a seed, in A2D-Sentences' layout.

    <root>/          train and test
    <root>/unseen/   a tree of its own: sentences about combinations that training never shows

How the trees are made: `mmvs.shapes`.
"""

from __future__ import annotations

import json
from pathlib import Path

from mmvs.config import Data
from mmvs.data.a2d import A2DSentences
from mmvs.data.csv_files import DataError
from mmvs.files import regular
from mmvs.shapes import writing


class MovingShapes(A2DSentences):
    """The samples of one split, "train", "test" or "unseen"; everything else is A2D-Sentences'."""

    splits = {**A2DSentences.splits, "unseen": A2DSentences.splits["test"]}

    @classmethod
    def home(cls, root: Path, data: Data) -> Path:
        """Beside the root where that holds moving shapes of other settings (see `writing.home`)."""
        return writing.home(root, data.moving_shapes)

    @classmethod
    def folder(cls, root: Path, split: str) -> Path:
        """unseen/ is a tree of its own; the others share the root."""
        return root / "unseen" if split == "unseen" else root

    @classmethod
    def write(cls, root: Path, data: Data, progress: bool) -> None:
        """Write all splits as `data.moving_shapes` asks, unless they are there (see `writing.write`)."""
        writing.write(root, data.moving_shapes, progress)


def counts(root: Path) -> dict[str, int] | None:
    """The counts that a tree of moving shapes should have, in either layout; None for other trees."""
    for folder in (root, root.parent):  # the settings lie beside unseen/, not in it
        if (folder / writing.FINISHED).is_file():
            settings = _settings(folder / writing.FINISHED)
            if "jhmdb_clips" in settings:
                return {"videos": settings["jhmdb_clips"]}
            if folder != root:
                return {"test": settings["unseen_clips"]} if root.name == "unseen" else None
            train, test = settings["train_clips"] + 1, settings["test_clips"]  # one clip has no sentences
            return {"videos": train + test, "train": train, "test": test}
    return None


def _settings(file: Path) -> dict[str, int]:
    """The settings of a tree that count its clips; DataError where the file is not as it was written."""
    try:
        settings = json.loads(regular(file).read_text(encoding="utf-8"))
        names = (
            ["jhmdb_clips"] if "jhmdb_clips" in settings else ["train_clips", "test_clips", "unseen_clips"]
        )
        return {name: int(settings[name]) for name in names}
    except (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError) as error:
        raise DataError(f"{file}: damaged ({type(error).__name__}: {error}): write the data anew") from None
