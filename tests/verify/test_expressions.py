"""mmvs verify of MeViS, Ref-YouTube-VOS, Ref-DAVIS17 and own data: faults are named, oddities explained."""

import shutil

import expression_trees as trees
import numpy as np
import pytest
import tiny
from PIL import Image

from mmvs.verify import expressions, findings
from mmvs.verify.tree import verify


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    return trees.unpack(folder) | {"own": trees.own(folder / "own")}


@pytest.fixture
def tree(pristine, tmp_path):
    return lambda name: shutil.copytree(pristine[name], tmp_path / name)


def problems(root, **how):
    """What needs something done: what -> (verdict, what to do)."""
    rows = verify(root, progress=False, **how).findings
    return {row.what: (row.verdict, row.remedy) for row in rows if row.verdict not in findings.HARMLESS}


def notes(root):
    rows = verify(root, progress=False).findings
    return {row.what: row.remedy for row in rows if row.verdict in ("explained", "extra")}


@pytest.mark.parametrize("name", [*trees.NAMES, "own"])
def test_sound_trees_are_recognised(pristine, name):
    layouts = {"mevis": "MeViS", "ref-youtube-vos": "Ref-YouTube-VOS", "ref-davis17": "Ref-DAVIS17"}
    layout = layouts.get(name, "own data in Ref-YouTube-VOS's layout")
    assert verify(pristine[name], progress=False).data_set == layout
    assert problems(pristine[name]) == problems(pristine[name], fast=True) == {}


@pytest.mark.parametrize("part", ["raw", "converted"])
def test_ref_davis17_is_recognised_raw_and_converted(tree, part):
    root = tree("ref-davis17")
    gone = ("train", "valid", "meta_expressions") if part == "raw" else ("DAVIS", "davis_text_annotations")
    for name in gone:
        shutil.rmtree(root / name)
    assert verify(root, progress=False).data_set == "Ref-DAVIS17" and problems(root) == {}


def test_other_counts_and_known_differences_are_explained(pristine):
    told = notes(pristine["ref-youtube-vos"])
    assert "another release" in told["train: videos"]
    assert told["valid: videos listed besides"].endswith("679cfba180")
    assert told["valid: masks"].endswith("not published") and "only its list" in told["test: pictures"]
    assert "fffc71cdb9f5/6" in notes(pristine["mevis"])["train: expressions without object"]
    assert notes(pristine["own"])["train: frames without mask"].startswith(
        "not labelled, not used: film/00003, film/"
    )
    counts = expressions.PUBLISHED
    assert counts["MeViS train videos"] == 1662 and counts["Ref-YouTube-VOS valid videos"] == 507 - 305
    assert counts["Ref-DAVIS17 valid expressions"] == 61 * 4


def test_missing_and_damaged_pictures_and_masks_are_named(tree):
    root = tree("ref-youtube-vos")
    videos = sorted((root / "train" / "JPEGImages").iterdir())
    shutil.rmtree(videos[0])
    _, gone, torn, small = sorted(videos[1].iterdir())[:4]
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:200])
    Image.new("RGB", (8, 6)).save(small)
    masks = root / "train" / "Annotations" / videos[2].name
    lost, wrong, coloured = sorted(masks.iterdir())[:3]
    lost.unlink()
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(wrong)
    Image.new("RGB", (64, 48)).save(coloured)
    shutil.copytree(videos[2], videos[2].with_name("0123456789"))
    found = problems(root)
    assert found["train: videos with pictures missing"] == (
        "missing", f"put them into JPEGImages: {videos[0].name}",
    )  # fmt: skip
    assert found["train: listed frames"][1].endswith(f"{videos[1].name}/{gone.stem}")
    assert torn.name in found["train: pictures"][1] and found["train: pictures"][0] == "corrupt"
    assert small.name in found["train: pictures' size"][1]
    assert found["train: masks missing"][1].endswith(f"{videos[2].name}/{lost.stem}")
    assert wrong.name in found["train: masks"][1] and coloured.name in found["train: masks"][1]
    assert len(found) == 6 and str(root) not in str(found)
    assert notes(root)["other train: videos with pictures"].endswith("0123456789")
    assert tiny.command("verify", root, "--quiet") == 1


def test_faults_of_tracks_are_named(tree):
    root = tree("mevis")
    path = root / "train" / "mask_dict.json"

    def change(tracks):
        del tracks["0"]
        tracks["1"][0]["size"] = [40, 64]
        tracks["2"].pop()
        tracks["3"][0]["counts"] = "zz"

    trees.edit(path, change)
    found = problems(root)
    assert found["train: expressions' masks"][1].startswith(
        "not in mask_dict.json, get it anew: 94ff13329573/0 "
    )
    text = found["train: tracks"][1]
    assert all(f"track '{track}'" in text for track in (1, 2, 3)) and "(40, 64)" in text
    path.write_bytes(path.read_bytes()[:-40])
    assert "mask_dict.json: damaged or cut short at byte" in problems(root)["train: list and masks"][1]
    path.unlink()
    assert problems(root) == {"train: masks": ("missing", "put mask_dict.json there")}


def test_faults_of_the_list_are_named_and_the_rest_is_checked(tree):
    root = tree("mevis")
    path = root / "valid_u" / "meta_expressions.json"

    def change(content):
        video = next(iter(content["videos"].values()))
        del video["expressions"]["0"]["obj_id"], video["expressions"]["0"]["anno_id"]
        video["frames"].append("00099")

    trees.edit(path, change)
    found = problems(root)
    assert "expression '0': names no object" in found["valid_u: faults of the list"][1]
    assert found["valid_u: listed frames"][1].endswith("/00099")
    assert found["valid_u: tracks"][0] == "corrupt"  # as many entries as frames
    path.write_text("{")
    assert problems(root).keys() == {"valid_u: list and masks"}
    for split in ("train", "valid"):
        shutil.rmtree(root / split)
    assert tiny.command("verify", root, "--quiet") == 1


def test_a_film_that_is_shorter_than_its_list_is_named(tree):
    root = tree("own")
    trees.edit(
        root / "meta_expressions" / "train" / "meta_expressions.json",
        lambda content: content["videos"]["film"]["frames"].append("00005"),
    )
    assert problems(root)["train: pictures"][1].endswith("film.mp4 (has 5 frames, 6 are listed)")
