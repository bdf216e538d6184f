"""mmvs.data.expressions: what the makers of the trees wrote is read; each fault is named, others go on."""

import json
import pickle
import shutil
import warnings

import expression_trees as trees
import numpy as np
import pytest
from expression_trees import edit
from PIL import Image

from mmvs.data.csv_files import DataError
from mmvs.data.expressions import Expressions
from mmvs.video.files import write_video

SPLITS = [
    ("mevis", "train"),
    ("mevis", "valid_u"),
    ("mevis", "valid"),
    ("ref-youtube-vos", "train"),
    ("ref-youtube-vos", "valid"),
    ("ref-davis17", "train"),
    ("ref-davis17", "valid"),
]
every_split = pytest.mark.parametrize("name, split", SPLITS)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return trees.unpack(tmp_path_factory.mktemp("trees"))


@pytest.fixture
def tree(tmp_path, pristine):
    """A tree by its name, to break."""

    def copy(name):
        return shutil.copytree(pristine[name], tmp_path / name)

    return copy


def quiet(root, split):
    """The expressions of a list with faults, which a warning names."""
    with pytest.warns(UserWarning, match="faults: "):
        return Expressions(root, split)


def check(data, rows):
    assert len(data) == len(rows)
    for i, row in enumerate(rows):
        one = data[i]
        assert (one.video_id, one.expression_id, one.sentence) == (
            row["video"],
            row["exp_id"],
            row["sentence"],
        )
        assert one.frames == row["frames"] and one.object_ids == row["obj_ids"]
        truth = data.truth(i)
        if row["areas"] is None:
            assert truth is None and data.positions_with_truth(i) == []
        else:
            assert truth.dtype == bool and truth.shape == (len(one.frames), row["height"], row["width"])
            assert truth.sum((1, 2)).tolist() == row["areas"]
            assert data.positions_with_truth(i) == list(range(len(one.frames)))
        frames = data.frames(i, [len(one.frames) - 1, 0])
        assert frames.dtype == np.uint8 and frames.shape == (2, row["height"], row["width"], 3)


@every_split
def test_reads_what_the_makers_of_the_trees_wrote(pristine, name, split):
    root = pristine[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(Expressions(root, split), trees.expected(root)[split])


@every_split
def test_the_split_s_own_folder_will_do(pristine, name, split):
    rows = trees.expected(pristine[name])[split]
    check(Expressions(pristine[name] / split, split), rows)


def test_a_folder_of_a_split_may_have_any_name(tree, tmp_path):
    root = tree("mevis")
    renamed = (root / "valid_u").rename(tmp_path / "mine")
    check(Expressions(renamed, "valid_u"), trees.expected(root)["valid_u"])


@pytest.mark.parametrize("split", ["train", "valid"])
def test_raw_ref_davis17_is_what_it_becomes_when_converted(tree, split):
    root = tree("ref-davis17")
    for folder in ("train", "valid", "meta_expressions"):
        shutil.rmtree(root / folder)
    check(Expressions(root, split), trees.expected(root)[split])


def test_the_file_of_mevis_2_has_another_name(tree):
    root = tree("mevis")
    (root / "train/meta_expressions.json").rename(root / "train/meta_expressions_v2.json")
    check(Expressions(root, "train"), trees.expected(root)["train"])


def test_videos_of_test_are_left_out_of_valid_with_or_without_their_list(tree):
    root = tree("ref-youtube-vos")
    rows, others = trees.expected(root)["valid"], ["679cfba180"]
    assert Expressions(root, "valid").of_test == others
    shutil.rmtree(root / "meta_expressions/test")  # as in newer downloads: the pictures tell
    data = Expressions(root, "valid")
    check(data, rows)
    assert data.of_test == others and not data.faults


def test_a_copy_in_a_worker_reads_the_same(pristine):
    data = Expressions(pristine["mevis"], "train")
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy.truth(3), data.truth(3))
    assert [copy[i] for i in range(len(copy))] == list(data)


def test_an_expression_about_nothing_has_an_empty_truth(pristine):
    data = Expressions(pristine["mevis"], "valid_u")
    assert data[len(data) - 1].object_ids == [] and not data.truth(len(data) - 1).any()


def test_frames_are_those_of_the_names_where_the_list_is_not_sorted(pristine):
    data = Expressions(pristine["ref-youtube-vos"], "train")
    one = data[4]
    path = pristine["ref-youtube-vos"] / "train/JPEGImages" / one.video_id / f"{one.frames[2]}.jpg"
    np.testing.assert_array_equal(data.frames(4, [2])[0], np.asarray(Image.open(path)))


def test_a_video_file_may_stand_in_for_the_pictures_and_masks_for_some_frames(tree):
    root = tree("ref-youtube-vos")
    listing = root / "meta_expressions/train/meta_expressions.json"
    pictures, masks = root / "train/JPEGImages/6160f30be4", root / "train/Annotations/6160f30be4"
    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 48, 3), np.uint8)
    shutil.rmtree(pictures)
    write_video(pictures.with_suffix(".mp4"), frames)
    for k, name in enumerate(("00000", "00005", "00010")):
        (masks / f"{name}.png").rename(masks / f"{k:05d}.png")
    (masks / "00001.png").unlink()

    def number(content):
        content["videos"]["6160f30be4"]["frames"] = ["00000", "00001", "00002"]

    edit(listing, number)
    data = Expressions(root, "train")
    assert data[10].video_id == "6160f30be4" and data.size("6160f30be4") == (64, 48)
    assert data.frames(10, [2, 0]).shape == (2, 64, 48, 3)
    assert data.positions_with_truth(10) == [0, 2]
    assert data.masks(10, [0, 2]).any((1, 2)).all()
    with pytest.raises(DataError, match="6160f30be4/00001.png: no such file"):
        data.truth(10)


@pytest.mark.parametrize("split, sought", [("valid", "valid/meta_expressions.json"), ("x", "_v2.json")])
def test_an_unknown_layout_says_what_was_looked_for(tmp_path, split, sought):
    with pytest.raises(DataError, match=f"in no layout that is known: looked for .*{sought}"):
        Expressions(tmp_path, split)


def test_hints_at_another_name_a_deeper_folder_and_other_splits(tree, tmp_path):
    root = tree("mevis")
    with pytest.raises(DataError, match=r"did you mean .*mevis\?"):
        Expressions(tmp_path, "train")
    with pytest.raises(DataError, match="has no split 'test', there are train, valid, valid_u: looked for"):
        Expressions(root, "test")
    with pytest.raises(DataError, match="nowhere: no such folder: put .* there, or change the root"):
        Expressions(root / "nowhere", "train")
    with pytest.raises(DataError, match="without slashes"):
        Expressions(root, "../mevis/train")
    for split in ("train", "valid", "valid_u"):
        (root / split / "meta_expressions.json").rename(root / split / "meta_valid.json")
    with pytest.raises(DataError, match="has .*meta_valid.json: is one of them the list"):
        Expressions(root, "train")


@pytest.mark.parametrize(
    "content, complaint",
    [
        ('{"videos": {"a": ', "damaged or cut short"),
        ("[]", "not a list of expressions"),
        ('{"videos": []}', "not a list of expressions"),
        ('{"videos": {"a": {"objects": {}}}}', 'no video that can be used .*has no "expressions"'),
        ('{"videos": {"../a": {"expressions": {}, "frames": ["0"]}}}', "plain name without slashes"),
    ],
)
def test_another_json_under_this_name_is_refused(tree, content, complaint):
    root = tree("mevis")
    (root / "train/meta_expressions.json").write_text(content)
    with pytest.raises(DataError, match=f"meta_expressions.json: .*{complaint}"):
        Expressions(root, "train")


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda e: e.pop("obj_id"), "names no object"),
        (lambda e: e.update(obj_id="0"), "object 0 is no object"),
        (lambda e: e.update(obj_id="one"), "no number of an object"),
        (lambda e: e.update(obj_id=None), "names no object"),
        (lambda e: e.update(obj_id={"1": 1}), "no number of an object"),
        (lambda e: e.pop("exp"), 'has no "exp"'),
        (lambda e: e.update(exp=7), 'has no "exp"'),
        (lambda e: e.update(exp=" \u200b "), "sentence is empty"),
        (lambda e: e.update(exp="a \ud800 dog"), "half a character"),
    ],
)
def test_a_bad_expression_is_named_and_the_rest_is_read(tree, change, fault):
    root = tree("ref-youtube-vos")
    edit(
        root / "meta_expressions/train/meta_expressions.json",
        lambda content: change(content["videos"]["eddd1cf421"]["expressions"]["0"]),
    )
    data = quiet(root, "train")
    assert len(data.faults) == 1 and fault in data.faults[0]
    assert "video 'eddd1cf421', expression '0'" in data.faults[0]
    check(data, trees.expected(root)["train"][1:])


def test_an_id_that_stands_there_twice_is_named_and_the_last_counts(tree):
    root = tree("mevis")
    path = root / "train/meta_expressions.json"
    text = path.read_text()
    text = text.replace('"expressions": {"0":', '"expressions": {"0": {"exp": "early"}, "0":', 1)
    text = text.replace('{"videos": {', '{"videos": {"fffc71cdb9f5": {}, ', 1)
    path.write_text(text.replace('"00005"]', '"00005", "00005"]', 1))
    data = quiet(root, "train")
    assert [fault.split(":")[0] for fault in data.faults] == [
        "video 'fffc71cdb9f5'",
        "video '94ff13329573'",
        "video '94ff13329573', expression '0'",
    ]
    assert [one.sentence for one in data if one.expression_id == "0"][1] != "early"


def test_a_missing_or_damaged_picture_is_named_and_the_others_are_read(tree):
    root = tree("ref-youtube-vos")
    folder = root / "train/JPEGImages/eddd1cf421"
    (folder / "00000.jpg").unlink()
    (folder / "00005.jpg").write_bytes(b"no picture")
    data = Expressions(root, "train")
    for position, name in ((0, "00000"), (1, "00005")):
        with pytest.raises(DataError, match=f"eddd1cf421/{name}.jpg"):
            data.frames(0, [position, 2])
    assert data.frames(0, [2, 3]).shape == (2, 48, 64, 3)
    assert data.truth(0).shape == (6, 48, 64)


@pytest.mark.parametrize(
    "picture, complaint",
    [
        (Image.new("P", (32, 24)), r"the mask is \(24, 32\).*, but the video is \(48, 64\)"),
        (Image.new("RGB", (64, 48)), "a picture of colours"),
        (None, "no such file"),
    ],
)
def test_a_mask_that_is_missing_or_of_another_kind_is_named(tree, picture, complaint):
    root = tree("ref-davis17")
    path = root / "valid/Annotations/blackswan/00002.png"
    path.unlink()
    if picture:
        picture.save(path)
    data = Expressions(root, "valid")
    with pytest.raises(DataError, match=f"blackswan/00002.png: {complaint}"):
        data.truth(0)
    assert data.masks(0, [0, 1, 3]).any()


def first(tracks):
    return tracks["0"][0]


@pytest.mark.parametrize(
    "change, complaint",
    [
        (lambda t: first(t).update(size=[24, 32]), r"entry 0 .*the mask is \(24, 32\) .*video is \(48, 64\)"),
        (lambda t: first(t).update(counts="zzzz~"), "entry 0 .*damaged run lengths"),
        (lambda t: first(t).update(counts=[1, 2]), "entry 0 .*damaged run lengths"),
        (lambda t: first(t).update(counts=None), "entry 0 .*damaged run lengths"),
        (lambda t: first(t).pop("counts"), "entry 0 .*no run lengths"),
        (lambda t: first(t).update(size=[-48, 64]), "entry 0 .*no run lengths"),
        (lambda t: t.update({"0": [7] * 6}), "entry 0 .*no run lengths"),
        (lambda t: t.update({"0": {}}), "expected a list"),
        (lambda t: t["0"].pop(), "5 entries, but the video lists 6 frames"),
        (lambda t: t.pop("0"), "has no track '0'"),
    ],
)
def test_a_bad_track_is_named_and_the_others_are_read(tree, change, complaint):
    root = tree("mevis")
    edit(root / "train/mask_dict.json", change)
    data = Expressions(root, "train")
    with pytest.raises(DataError, match=f"mask_dict.json.*{complaint}"):
        data.truth(0)
    assert data.truth(1).any()


def test_run_lengths_need_not_be_compressed(tree):
    root = tree("mevis")
    edit(root / "train/mask_dict.json", lambda t: first(t).update(counts=[10, 5, 48 * 64 - 15]))
    mask = Expressions(root, "train").truth(0)[0]
    assert np.flatnonzero(mask.T).tolist() == [10, 11, 12, 13, 14]  # column after column


@pytest.mark.parametrize("keep", [0, 1, 40, 0.5, -3])
def test_a_mask_file_that_is_cut_short_is_named(tree, keep):
    root = tree("mevis")
    path = root / "train/mask_dict.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match="mask_dict.json: damaged or cut short at byte"):
        Expressions(root, "train")


def test_no_mask_file_is_named_when_a_truth_is_asked_for(tree):
    root = tree("mevis")
    (root / "train/mask_dict.json").unlink()
    data = Expressions(root, "train")
    with pytest.raises(DataError, match="mask_dict.json: no such file"):
        data.truth(0)


def test_the_text_files_of_raw_ref_davis17_are_checked_line_by_line(tree):
    root = tree("ref-davis17")
    for folder in ("train", "valid", "meta_expressions"):
        shutil.rmtree(root / folder)
    path = root / "davis_text_annotations/Davis17_annot1.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("judo 2")] + [
        "judo",
        'judo one "x"',
        'judo 1 "again"',
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    data = quiet(root, "valid")
    numbers = [one.expression_id for one in data if one.video_id == "judo"]
    assert numbers == ["0", "1", "2", "3", "5", "6", "7"], "the other sentences keep their numbers"
    assert len(data.faults) == 4 and all("Davis17_annot1.txt" in fault for fault in data.faults)


def test_json_is_read_whatever_its_white_space_and_encoding(tree):
    root = tree("mevis")
    for name in ("mask_dict.json", "meta_expressions.json"):
        path = root / "train" / name
        text = json.dumps(json.loads(path.read_text()), indent=1, ensure_ascii=False)
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    check(Expressions(root, "train"), trees.expected(root)["train"])
