"""Is a data set complete and whole? `python -m mmvs.verify.tree <root> [--fast]`

Detects which data set a folder holds, compares its counts with the published ones, opens every file (in the
fast mode those of a sample of the videos) and prints what is missing, corrupt, of the wrong size or extra,
with what to do. Exit status: 0 nothing to do, 1 something is missing or wrong, 2 no data set was found.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mmvs.data.csv_files import DataError
from mmvs.verify import a2d, jhmdb
from mmvs.verify.findings import Look, Verification

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


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mmvs.verify.tree", description=__doc__)
    parser.add_argument("root", type=Path, help="folder of A2D-Sentences, J-HMDB-Sentences or moving shapes")
    parser.add_argument("--fast", action="store_true", help="open the files of some videos only")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    try:
        done = verify(given.root, given.fast, not given.quiet)
    except DataError as error:
        print(error)
        return 2
    table = done.table().reset_index()
    widths = {column: max(len(column), *(len(text) for text in table[column])) for column in table}
    for row in [dict(zip(table, table, strict=True)), *table.to_dict("records")]:
        print("  ".join(row[column].ljust(widths[column]) for column in table).rstrip())
    opened = "the files of a sample of the videos were opened" if given.fast else "every file was opened"
    verdict = "healthy" if done.healthy else "not complete: see the first lines"
    print(f"{done.data_set}: {verdict}; {opened}")
    return 0 if done.healthy else 1


if __name__ == "__main__":
    raise SystemExit(main())
