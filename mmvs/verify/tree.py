"""Is a data set complete and whole? `mmvs verify ROOT [--fast]`

Detects which data set a folder holds, compares its counts with the published ones, opens every file (in the
fast mode those of a sample of the videos) and prints what is missing, corrupt, of the wrong size or extra,
with what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmvs.data.csv_files import DataError
from mmvs.verify import a2d, jhmdb
from mmvs.verify.findings import Look, Verification

if TYPE_CHECKING:
    import pandas as pd

MARKS = {  # one of these below the root tells the layout
    "A2D-Sentences": ("Release", "text_annotations"),
    "J-HMDB-Sentences": ("Rename_Images", "puppet_mask", "jhmdb_annotation.txt"),
}
SHAPES = "moving_shapes.json"  # with the settings, in trees of the embedded data set
CHECKS = {"A2D-Sentences": a2d, "J-HMDB-Sentences": jhmdb}


def verify(root: str | Path, fast: bool = False, progress: bool = True) -> Verification:
    """Check the data set below `root`; DataError when there is none, or two."""
    root = Path(root)
    layout = _layout(root)
    shapes = _shapes_counts(root)
    published = CHECKS[layout].PUBLISHED if shapes is None else shapes
    name = layout if shapes is None else f"moving shapes in the layout of {layout}"
    return Verification(name, list(CHECKS[layout].check(root, published, Look(fast, progress))))


def overview(roots: Mapping[str, Path], fast: bool = True, progress: bool = True) -> pd.DataFrame:
    """The findings about several data sets by name, one table."""
    import pandas as pd

    tables = {name: verify(root, fast, progress).table() for name, root in roots.items()}
    return pd.concat(tables, names=["data set"])


def _layout(root: Path) -> str:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found = [name for name, marks in MARKS.items() if any((root / mark).exists() for mark in marks)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{root}: holds parts of both {' and '.join(found)}: give each a folder of its own")
    nearby = [*sorted(p for p in root.iterdir() if p.is_dir()), root.absolute().parent]
    other = [
        folder for folder in nearby if any((folder / m).exists() for marks in MARKS.values() for m in marks)
    ]
    hint = f"; did you mean {other[0]}?" if other else ""
    expected = "; ".join(f"{name} has {' or '.join(marks)}" for name, marks in MARKS.items())
    raise DataError(f"{root}: holds none of the data sets ({expected}){hint}")


def _shapes_counts(root: Path) -> dict[str, int] | None:
    """The counts that a tree of moving shapes should have; None for other trees."""
    for folder in (root, root.parent):  # unseen/ is a tree of its own below the settings
        if (folder / SHAPES).is_file():
            made = json.loads((folder / SHAPES).read_text())
            if "jhmdb_clips" in made:
                return {"videos": made["jhmdb_clips"]}
            if folder != root:
                return {"test": made["unseen_clips"]} if root.name == "unseen" else None
            train, test = made["train_clips"] + 1, made["test_clips"]  # one that nobody speaks of
            return {"videos": train + test, "train": train, "test": test}
    return None
