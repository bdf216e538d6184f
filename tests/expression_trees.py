"""Tiny trees in the layouts of MeViS, Ref-YouTube-VOS and Ref-DAVIS17, with what a reader should find.

data/expressions.tar.xz: invented videos and sentences, made for these tests. Each tree has an expected.json:
for each split a row for each expression.
"""

import json
import shutil
from pathlib import Path

from mmvs.video.files import write_video
from mmvs.video.folders import read_pictures

ARCHIVE = Path(__file__).parent / "data" / "expressions.tar.xz"
NAMES = ("mevis", "ref-youtube-vos", "ref-davis17")


def unpack(folder: Path) -> dict[str, Path]:
    """Every tree by its name."""
    shutil.unpack_archive(ARCHIVE, folder)
    return {name: folder / name for name in NAMES}


def copy(name: str, root: Path) -> Path:
    """One tree, as the root of a data set."""
    unpack(root.parent / f"all-{root.name}")
    shutil.copytree(root.parent / f"all-{root.name}" / name, root, dirs_exist_ok=True)
    return root


def own(root: Path) -> Path:
    """Data of one's own: a video file, and a folder of pictures of which some are labelled."""
    copy("ref-youtube-vos", root)
    shutil.rmtree(root / "valid")
    shutil.rmtree(root / "meta_expressions")
    folder, (film, other, third) = root / "train", sorted((root / "train" / "JPEGImages").iterdir())
    names = [f"{t:05d}" for t in range(5)]
    pictures = read_pictures(sorted(film.iterdir())[:1] * len(names), film)
    shutil.rmtree(film)
    write_video(film.with_name("film.mp4"), pictures)
    masks = sorted((folder / "Annotations" / film.name).iterdir())
    (folder / "Annotations" / "film").mkdir()
    for name in names[:3]:
        shutil.copy(masks[0], folder / "Annotations" / "film" / f"{name}.png")
    sorted((folder / "Annotations" / other.name).iterdir())[0].unlink()
    frames = {"film": names, other.name: sorted(path.stem for path in other.iterdir())}
    videos = {
        video: {"expressions": {"a": {"exp": "The  thing", "obj_id": ["1", 2]}}, "frames": own}
        for video, own in frames.items()
    }
    shutil.rmtree(third)
    shutil.copytree(folder, root / "valid")
    for split in ("train", "valid"):
        path = root / "meta_expressions" / split / "meta_expressions.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"videos": videos}))
    return root


def edit(path: Path, change) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def expected(root: Path) -> dict[str, list[dict]]:
    """Rows by split: video, exp_id, sentence, frames, height, width, obj_ids, areas of the truth."""
    return json.loads((root / "expected.json").read_text())
