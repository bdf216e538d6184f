"""Is a copy of a data set complete and whole? `mmvs verify ROOT [--fast]`

Recognises the data set in a folder, compares its counts with the published ones, opens every file (in the
fast mode those of a sample of the videos) and lists what is missing, corrupt, of the wrong size or extra,
with what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mmvs.data import moving_shapes
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.catalogue import FAMILIES
from mmvs.data.csv_files import DataError
from mmvs.verify.findings import Scope, Verification

if TYPE_CHECKING:
    import pandas as pd


def verify(root: str | Path, fast: bool = False, progress: bool = True) -> Verification:
    """Check the data set below `root`; DataError when there is none, or two, or one that has no check."""
    root = Path(root)
    data_set = recognise(root)
    if data_set.check is None:
        raise DataError(f"{root}: {data_set.layout} has no check: write one and name it in its class")
    checks, shapes = import_module(data_set.check), moving_shapes.counts(root)
    published = checks.PUBLISHED if shapes is None else shapes
    name = data_set.layout if shapes is None else f"moving shapes in the layout of {data_set.layout}"
    return Verification(name, list(checks.check(root, published, Scope(fast, progress))))


def overview(roots: Mapping[str, Path], fast: bool = True, progress: bool = True) -> pd.DataFrame:
    """The findings about several data sets by name, one table."""
    import pandas as pd

    tables = {name: verify(root, fast, progress).table() for name, root in roots.items()}
    return pd.concat(tables, names=["data set"])


def recognise(root: Path) -> type[AnnotatedVideos]:
    """The data set whose layout the folder has; DataError, with a hint, when there is none, or two."""
    layouts = {data_set.layout: data_set for data_set in reversed(FAMILIES.values())}  # the first of each
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    matches = [data_set for data_set in layouts.values() if data_set.is_in(root)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = " and ".join(sorted(data_set.layout for data_set in matches))
        raise DataError(f"{root}: holds parts of both {names}: give each a folder of its own")
    nearby = [*sorted(path for path in root.iterdir() if path.is_dir()), root.absolute().parent]
    others = [folder for folder in nearby if any(each.is_in(folder) for each in layouts.values())]
    hint = f"; did you mean {others[0]}?" if others else ""
    expected = "; ".join(f"{name} has {' or '.join(layouts[name].marks)}" for name in sorted(layouts))
    raise DataError(f"{root}: holds none of the data sets ({expected}){hint}")
