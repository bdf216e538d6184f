"""Tiny trees in the layouts of MeViS, Ref-YouTube-VOS and Ref-DAVIS17, with what a reader should find.

data/expressions.tar.xz: invented videos and sentences, made for these tests. Each tree has an expected.json:
for each split a row for each expression.
"""

import json
import shutil
import tarfile
from pathlib import Path

ARCHIVE = Path(__file__).parent / "data" / "expressions.tar.xz"
NAMES = ("mevis", "ref-youtube-vos", "ref-davis17")


def unpack(folder: Path) -> dict[str, Path]:
    """Every tree by its name."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return {name: folder / name for name in NAMES}


def copy(name: str, root: Path) -> Path:
    """One tree, as the root of a data set."""
    unpack(root.parent / f"all-{root.name}")
    shutil.copytree(root.parent / f"all-{root.name}" / name, root, dirs_exist_ok=True)
    return root


def edit(path: Path, change) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def expected(root: Path) -> dict[str, list[dict]]:
    """Rows by split: video, exp_id, sentence, frames, height, width, obj_ids, areas of the truth."""
    return json.loads((root / "expected.json").read_text())
