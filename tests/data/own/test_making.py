"""mmvs new-data: from videos, sentences and masks to a tree that `mmvs verify` and the loaders take."""

import json
import shutil
import zipfile

import numpy as np
import own_videos
import pytest
import tiny
from own_videos import SIZE, film, masks, pictures, square, table
from PIL import Image

from mmvs.config import Data
from mmvs.data.csv_files import DataError
from mmvs.data.expression_videos import OwnVideos
from mmvs.data.expressions import Expressions
from mmvs.data.own.making import make
from mmvs.verify.tree import verify

JPEGS = [f"{5 * t:05d}.jpg" for t in range(6)]
ROWS = ["street,1,the red square", "street,2,the blue square", 'yard,1,"le carré rouge, là-haut"']


@pytest.fixture
def sources(tmp_path):
    """A film and a folder of pictures, with masks of some frames of both."""
    film(tmp_path / "clips" / "street.MP4")
    pictures(tmp_path / "clips" / "yard", JPEGS)
    masks(tmp_path / "masks" / "street", [f"{t:05d}.png" for t in range(4)])
    masks(tmp_path / "masks" / "yard", [f"{5 * t:05d}.png" for t in range(3)])
    table(tmp_path / "sentences.csv", *ROWS)
    return tmp_path


def made(sources, **changes):
    given = {"videos": [sources / "clips"], "table": sources / "sentences.csv", "masks": sources / "masks"}
    return make(sources / "own", **given | changes)


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_it_is_a_data_set_that_verify_and_the_loaders_take(sources):
    report = made(sources)
    assert report.is_sound and report.added == {"videos": 2, "sentences": 3, "masks": 7}, report.text()
    root = sources / "own"
    verification = verify(root, progress=False)
    assert verification.healthy and verification.data_set == "own data in Ref-YouTube-VOS's layout"
    kept = root / "train" / "JPEGImages" / "street.mp4"
    assert kept.read_bytes() == (sources / "clips" / "street.MP4").read_bytes()  # as it was
    data = OwnVideos.open(root, "train", Data())
    assert len(data) == 4 + 4 + 3  # labelled frames of each expression
    assert data[10].sentence == "le carré rouge, là-haut" and data[10].frame == 2
    np.testing.assert_array_equal(data.mask(1), square(1))
    np.testing.assert_array_equal(data.mask(5), square(1, 20))
    assert data.frames(0, [0]).shape == (1, *SIZE, 3)
    with Image.open(root / "train/Annotations/yard/00005.png") as picture:
        assert picture.mode == "P" and picture.getpalette()[:6] == [0, 0, 0, 128, 0, 0]


def test_again_it_adds_nothing_and_changes_no_byte(sources):
    made(sources)
    before = files(sources / "own")
    report = made(sources)
    assert report.is_sound and not any(report.added.values()) and files(sources / "own") == before


def test_it_grows_step_by_step(sources):
    """Videos first: it says what is missing, and writes a table to fill in."""
    report = make(sources / "own", [sources / "clips"])
    assert not report.is_sound and "videos without a sentence: street, yard" in report.text()
    template = sources / "own" / "sentences.csv"
    assert template.read_text() == 'video,object,sentence\n"street",1,\n"yard",1,\n'
    table(template, "street,1,the red square", "yard,1,the red one")
    report = make(sources / "own", table=template)
    assert report.added["sentences"] == 2
    assert "sentences about objects without a mask: street/1, yard/1" in report.text()
    report = make(sources / "own", masks=sources / "masks")
    assert report.is_sound and report.added["masks"] == 7
    assert "objects without a sentence, not used: street/2, yard/2" in report.text()
    assert verify(sources / "own", progress=False).healthy


def test_what_the_user_made_stays(sources):
    made(sources)
    root = sources / "own"
    mask = root / "train/Annotations/street/00000.png"
    Image.fromarray(np.full(SIZE, 3, np.uint8)).save(mask)
    listing = root / "meta_expressions/train/meta_expressions.json"
    content = json.loads(listing.read_text())
    content["videos"]["street"]["expressions"]["0"]["exp"] = "my own words"
    content["note"] = "mine"
    listing.write_text(json.dumps(content))
    before = mask.read_bytes()
    report = made(sources)
    assert mask.read_bytes() == before and "1 frames have other masks already" in report.text()
    content = json.loads(listing.read_text())
    sentences = [one["exp"] for one in content["videos"]["street"]["expressions"].values()]
    assert content["note"] == "mine" and sentences == ["my own words", "the blue square", "the red square"]


def test_every_fifth_new_video_is_kept_out_of_training_or_as_the_table_says(tmp_path):
    for number in range(10):
        pictures(tmp_path / "clips" / f"v{number}", JPEGS[:1])
    make(tmp_path / "own", [tmp_path / "clips"])
    valid = sorted(path.name for path in (tmp_path / "own/valid/JPEGImages").iterdir())
    assert valid == ["v2", "v7"]
    rows = table(tmp_path / "t.csv", "v0,1,a,valid", "v1,1,b,", header="video,object,sentence,split")
    make(tmp_path / "other", [tmp_path / "clips"], rows)
    assert (tmp_path / "other/valid/JPEGImages/v0").is_dir()


def test_names_of_objects_become_numbers_that_stay(sources):
    rows = table(sources / "sentences.csv", "street,car,the red square", "street,2,the blue square")
    code = {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]}
    records = [{"video": "street.mp4", "frame": 5, "object": "car", "segmentation": code}]
    (sources / "masks.json").write_text(json.dumps(records))
    make(sources / "own", [sources / "clips" / "street.MP4"], rows, sources / "masks.json")
    meta = json.loads((sources / "own/train/meta.json").read_text())
    assert meta["videos"]["street"]["objects"] == {"2": {"category": "2"}, "1": {"category": "car"}}
    data = Expressions(sources / "own", "train")
    assert data[0].object_ids == [1] and data.masks(0, [5]).all()
    more = table(sources / "more.csv", "street,car,das Auto")
    make(sources / "own", table=more)
    assert [one.object_ids for one in Expressions(sources / "own", "train")] == [[1], [2], [1]]


@pytest.mark.parametrize(
    "names, kept",
    [
        (["frame1.jpg", "frame2.jpg", "frame10.jpg"], False),  # sorted as text they would change places
        (["frame01.jpg", "frame02.jpg", "frame10.jpg"], True),
        (["a 1.png", "a 2.png", "a 3.png"], False),
        (["00000.jpg", "00001.png", "00002.bmp"], False),
    ],
)
def test_pictures_keep_names_that_sort_alike_everywhere(tmp_path, names, kept):
    pictures(tmp_path / "shop", names)
    stems = [name.rpartition(".")[0] for name in names]
    masks(tmp_path / "masks" / "shop", [f"{stem}.png" for stem in stems])
    rows = table(tmp_path / "t.csv", "shop,1,the red square", "shop,2,the blue one")
    report = make(tmp_path / "own", [tmp_path / "shop"], rows, tmp_path / "masks")
    assert report.is_sound, report.text()
    assert ("meta.json keeps their old names" in report.text()) is not kept
    data = OwnVideos.open(tmp_path / "own", "train", Data())
    assert data.expressions[0].frames == (stems if kept else ["00000", "00001", "00002"])
    for t in range(3):  # each mask beside its own picture
        np.testing.assert_array_equal(data.mask(t), square(t))
        np.testing.assert_allclose(data.frames(0, [t])[0], own_videos.frame(t), atol=90)
    assert verify(tmp_path / "own", progress=False).healthy
    before = files(tmp_path / "own")
    assert make(tmp_path / "own", [tmp_path / "shop"], rows, tmp_path / "masks").is_sound
    assert files(tmp_path / "own") == before


def test_what_is_missing_is_named_and_the_rest_is_used(sources):
    table(sources / "sentences.csv", *ROWS, "yrad,1,a slip", "yard,7,nothing drawn")
    (sources / "clips" / "broken.mp4").write_text("no video")
    Image.fromarray(np.ones((8, 8), np.uint8)).save(sources / "masks/yard/00015.png")
    shutil.copytree(sources / "masks/yard", sources / "masks/elsewhere")
    text = made(sources).text()
    assert "line 5: no video 'yrad': did you mean 'yard'?" in text
    assert "sentences about objects without a mask: yard/7" in text
    assert "broken.mp4: not a video" in text
    assert "'yard': masks are (8, 8) (H, W), but the video is (32, 48)" in text and "00015.png" in text
    assert "masks of unknown videos (there are street, yard)" in text
    assert len(OwnVideos.open(sources / "own", "train", Data())) == 11 + 3  # of object 7, with empty masks


def test_two_videos_of_one_name_are_told_apart(sources, tmp_path):
    made(sources)
    film(tmp_path / "new" / "street.mp4", frames=3)
    text = make(sources / "own", [tmp_path / "new"]).text()
    assert "another video 'street' is in" in text
    with pytest.raises(DataError, match="has the same name, 'street'"):
        make(tmp_path / "x", [sources / "clips", tmp_path / "new"])


def test_ids_that_look_published_are_still_own(tmp_path):
    """Seconds since 1970 are ten hexadecimal digits; four sentences an object are Ref-DAVIS17's."""
    film(tmp_path / "1732561904.mp4")
    rows = table(tmp_path / "t.csv", *(f"1732561904,1,sentence {n}" for n in range(4)))
    masks(tmp_path / "masks", ["00000.png"])
    report = make(tmp_path / "own", [tmp_path / "1732561904.mp4"], rows, tmp_path / "masks")
    assert report.is_sound and verify(tmp_path / "own", progress=False).healthy


def test_an_export_is_read_in_its_zip(sources):
    code = {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]}
    with zipfile.ZipFile(sources / "export.zip", "w") as archive:
        archive.writestr("images/frame_000000.png", b"")
        archive.writestr("a.json", json.dumps([{"video": "street", "frame": 0, "rle": code}]))
    assert made(sources, masks=sources / "export.zip").added["masks"] == 1
    with zipfile.ZipFile(sources / "export.zip", "a") as archive:
        archive.writestr("b.json", "[]")
    with pytest.raises(DataError, match="expected one .xml or .json in it, found a.json, b.json"):
        made(sources, masks=sources / "export.zip")
    (sources / "export.zip").write_bytes((sources / "export.zip").read_bytes()[:-40])
    with pytest.raises(DataError, match="export.zip: "):
        made(sources, masks=sources / "export.zip")


@pytest.mark.parametrize(
    "what, named",
    [
        ({"videos": ["nowhere"]}, "nowhere: no such video, and no such folder"),
        ({"videos": ["masks/nothing"]}, "holds no videos: expected .mp4"),
        ({"table": "none.csv"}, "none.csv: no such file"),
        ({"masks": "none.xml"}, "none.xml: no such file or folder of masks"),
        ({"masks": "masks/nothing"}, "holds no masks"),
        ({"table": "clips/street.MP4"}, "street.MP4"),
    ],
)
def test_what_is_not_there_is_named(sources, what, named, capsys):
    (sources / "masks" / "nothing").mkdir()
    given = {"videos": [sources / "clips"], "table": sources / "sentences.csv", "masks": sources / "masks"}
    for key, value in what.items():
        given[key] = [sources / one for one in value] if key == "videos" else sources / value
    with pytest.raises(DataError, match=named):
        make(sources / "own", **given)
    assert not (sources / "own").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mevis/train").mkdir(parents=True)
    listing = {"videos": {"v": {"expressions": {"0": {"exp": "x"}}, "frames": ["00000"]}}}
    (tmp_path / "mevis/train/meta_expressions.json").write_text(json.dumps(listing))
    with pytest.raises(DataError, match="holds MeViS, as its owners publish it"):
        make(tmp_path / "mevis")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file: name a folder"):
        make(tmp_path / "file")


@pytest.mark.parametrize("content", ["[", "[]", '{"videos": 3}', '{"videos": {"street": 3}}'])
@pytest.mark.parametrize("name", ["train/meta.json", "meta_expressions/train/meta_expressions.json"])
def test_a_damaged_list_is_named_and_left_alone(sources, name, content):
    made(sources)
    (sources / "own" / name).write_text(content)
    before = files(sources / "own")
    with pytest.raises(DataError, match=name):
        made(sources)
    assert files(sources / "own") == before


def test_the_command_says_it_with_its_status(sources, capsys):
    clips = sorted((sources / "clips").iterdir())
    words = ["new-data", sources / "own", "--videos", *clips, "--sentences", sources / "sentences.csv"]
    assert tiny.command(*words, "--quiet") == 1
    assert "mend: sentences about objects without a mask" in capsys.readouterr().out
    assert tiny.command(*words, "--masks", sources / "masks", "--quiet") == 0
    assert "7 masks added" in capsys.readouterr().out
    assert tiny.command("verify", sources / "own", "--quiet") == 0
    assert tiny.command("new-data", sources / "own", "--masks", sources / "none.xml") == 1
    assert capsys.readouterr().err.count("\n") == 1
