"""The embedded data set: A2D's layout on disk, and sentences that need what their kind says."""

import csv
import json
import re
import shutil
from collections import Counter, defaultdict
from itertools import combinations, product
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmvs.config import MovingShapes
from mmvs.shapes import writing
from mmvs.shapes.a2d_layout import write_instances
from mmvs.shapes.cast import held_out
from mmvs.shapes.clip import draw_clip, render
from mmvs.shapes.english import WAYS, say
from mmvs.shapes.language import KINDS, TEMPORAL, Description, denotes, kind_of
from mmvs.shapes.placement import GROWTH
from mmvs.shapes.rendering import Rendering, visible
from mmvs.shapes.scene import COLOURS, DIRECTIONS, MOTIONS, SHAPES, Body, Looks, Scene, timing
from mmvs.video.files import frame_count, frame_size, read_frames, write_video

TRAIN = [f"train{i:05d}" for i in range(5)]
SMALL = MovingShapes(train_clips=5, test_clips=2, unseen_clips=2)
DEFAULT = MovingShapes()


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return writing.write(tmp_path_factory.mktemp("shapes") / "data", SMALL, progress=False)


@pytest.fixture(scope="module")
def clips() -> list:
    return [(split, draw_clip(DEFAULT, split, i)) for split in ("train", "test", "unseen") for i in range(60)]


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def contents(root: Path, *kinds: str) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.suffix in kinds}


# On disk


def test_layout(tree):
    videos = rows(tree / "Release" / "videoset.csv")
    assert [row[0] for row in videos if row[8] == "0"] == [*TRAIN, "silent00000"]
    assert [row[0] for row in videos if row[8] == "1"] == ["test00000", "test00001"]
    missed = (tree / "text_annotations" / "a2d_missed_videos.txt").read_text().split()
    assert missed == ["silent00000"]
    for row in videos:
        video = tree / "Release" / "clips320H" / f"{row[0]}.mp4"
        assert len(row) == 9 and frame_count(video) == int(row[6]) == 13
        assert frame_size(video) == (int(row[4]), int(row[5])) == (64, 64)
        masks = tree / "text_annotations" / "a2d_annotation_with_instances" / row[0]
        assert len(list(masks.glob("*.h5"))) == int(row[7]) == (0 if row[0] in missed else 3)
    header, *rows_of_text = rows(tree / "text_annotations" / "a2d_annotation.txt")
    assert header == ["video_id", "instance_id", "query"]
    assert {row[0] for row in rows_of_text} == {row[0] for row in videos} - set(missed)
    kinds = rows(tree / "sentence_kinds.csv")
    assert kinds[0] == ["video_id", "instance_id", "query", "kind"]
    assert [row[:3] for row in kinds[1:]] == rows_of_text and {row[3] for row in kinds[1:]} <= set(KINDS)
    unseen = rows(tree / "unseen" / "Release" / "videoset.csv")
    assert [(row[0], row[8]) for row in unseen] == [("unseen00000", "1"), ("unseen00001", "1")]
    assert (tree / "unseen" / "text_annotations" / "a2d_missed_videos.txt").read_text() == ""


def test_instances_are_transposed_and_named_by_any_numbers(tmp_path):
    masks = np.zeros((2, 10, 20), bool)
    masks[0, 2:6, 3:13] = True
    masks[1, 5:9, 15:18] = True
    write_instances(tmp_path / "00004.h5", (7, 3), masks)
    with h5py.File(tmp_path / "00004.h5") as file:
        assert file["instance"][:].tolist() == [7, 3]
        assert file["reMask"].shape == (2, 20, 10) and file["reMask"].dtype == np.uint8
        np.testing.assert_array_equal(file["reMask"][:].transpose(0, 2, 1), masks)
        np.testing.assert_array_equal(file["reBBox"][:].T, [[3, 2, 12, 5], [15, 5, 17, 8]])
    masks[1, 5:8] = False  # three pixels are too few: one instance is left, and its axis goes
    write_instances(tmp_path / "00004.h5", (7, 3), masks)
    with h5py.File(tmp_path / "00004.h5") as file:
        assert file["instance"][:].tolist() == [7] and file["reBBox"].shape == (4,)
        np.testing.assert_array_equal(file["reMask"][:].T, masks[0])


def test_masks_on_disk_are_those_of_the_scene(tree):
    clip, rendered = draw_clip(SMALL, "train", 3), render(SMALL, "train", 3)
    for frame in clip.scene.annotated:
        path = tree / f"text_annotations/a2d_annotation_with_instances/train00003/{frame + 1:05d}.h5"
        with h5py.File(path) as file:
            assert tuple(file["instance"][:]) == clip.instance_ids
            np.testing.assert_array_equal(file["reMask"][:].transpose(0, 2, 1), rendered.masks[:, frame])
    video = read_frames(tree / "Release/clips320H/train00003.mp4", range(13)).astype(float)
    assert np.abs(video - rendered.frames).mean() < 12  # the same pictures, but for compression


def test_annotations_do_not_depend_on_the_number_of_processes(tree, tmp_path):
    again = writing.write(tmp_path / "again", SMALL, progress=False, workers=2)
    assert contents(again, ".csv", ".txt", ".h5", ".json") == contents(tree, ".csv", ".txt", ".h5", ".json")


def test_videos_are_written_with_the_same_bytes_whatever_memory_holds(tmp_path):
    """Not so with x264's fastest code: of 30 files of this clip 10 and more differed."""
    rng, written = np.random.default_rng(0), set()
    frames = render(SMALL, "train", 2).frames
    for _ in range(20):
        litter = rng.random(int(rng.integers(1, 200_000)))
        write_video(tmp_path / "a.mp4", frames)
        written.add((tmp_path / "a.mp4").read_bytes())
        del litter
    assert len(written) == 1


def test_resumes_after_a_kill_without_rewriting(tree, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(tree, root)
    whole = contents(root, ".csv", ".txt", ".h5", ".json", ".mp4")
    missing, other = root / "Release/clips320H/train00002.mp4", root / "Release/clips320H/train00001.mp4"
    missing.unlink()
    (root / "moving_shapes.json").rename(root / "moving_shapes.unfinished.json")
    (root / "text_annotations/a2d_annotation.txt").unlink()
    (other.parent / ".partial-1-train00002.mp4").write_bytes(b"torn")
    before = other.stat().st_mtime_ns
    writing.write(root, SMALL, progress=False)
    assert other.stat().st_mtime_ns == before
    assert contents(root, ".csv", ".txt", ".h5", ".json", ".mp4") == whole
    assert not list(root.rglob(".partial-*"))


def test_same_settings_return_at_once_and_others_are_written_beside(tree, tmp_path, monkeypatch):
    root = tmp_path / "data"
    shutil.copytree(tree, root)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_write_clip", None)  # would fail if a clip were written
        writing.write(root, SMALL, progress=False)
    others = MovingShapes(train_clips=1, test_clips=1, unseen_clips=1, seed=4)
    root = writing.write(root, others, progress=False)
    assert json.loads((root / "moving_shapes.json").read_text())["seed"] == 4
    assert len(list(root.rglob("*.mp4"))) == len(list(root.rglob("videoset.csv"))) * 2 == 4


def test_foreign_folder_and_full_disk_are_refused(tmp_path, monkeypatch):
    (tmp_path / "Release").mkdir()
    with pytest.raises(OSError, match="not moving shapes") as error:
        writing.write(tmp_path, SMALL, progress=False)
    assert error.value.filename == str(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"need about \d+ MB, 0 MB are free"):
        writing.write(tmp_path / "new", SMALL, progress=False)
    assert not (tmp_path / "new").exists()


# Scenes


@pytest.mark.parametrize("frames", [9, 10, 11, 12, 13, 20, 40])
def test_timing_shows_both_phases_around_every_annotated_frame(frames):
    for seed in range(50):
        change, annotated = timing(frames, np.random.default_rng(seed))
        assert len(set(annotated)) == len(annotated) >= 2 and list(annotated) == sorted(annotated)
        assert all(0 <= f - 3 < change <= f + 3 <= frames - 2 for f in annotated)


def test_clips_depend_on_seed_split_and_number_alone():
    assert draw_clip(DEFAULT, "train", 7) == draw_clip(DEFAULT, "train", 7)
    others = [("train", 8), ("test", 7), ("unseen", 7)]
    assert all(draw_clip(DEFAULT, *other).scene != draw_clip(DEFAULT, "train", 7).scene for other in others)
    assert draw_clip(MovingShapes(seed=1), "train", 7).scene != draw_clip(DEFAULT, "train", 7).scene
    np.testing.assert_array_equal(render(DEFAULT, "test", 1).frames, render(DEFAULT, "test", 1).frames)


def test_bodies_stay_inside_and_are_seen(clips):
    for _, clip in clips:
        scene = clip.scene
        assert 3 <= len(scene.bodies) <= 5
        window = slice(scene.annotated[0] - 3, scene.annotated[-1] + 4)
        for body in scene.bodies:
            centres = scene.track(body)[0][window]
            assert (centres > 0).all() and (centres < [63, 63]).all()
    areas = [visible(c.scene, c.scene.annotated).sum((2, 3)).min() for _, c in clips]
    assert min(areas) >= 40
    assert 0.2 < np.mean([_crossing(clip.scene) for _, clip in clips]) < 0.6


def _crossing(scene) -> bool:
    """Whether two bodies come so close that one hides a part of the other."""
    window = slice(scene.annotated[0] - 3, scene.annotated[-1] + 4)
    discs = [(c[window], b.radius * s[window]) for b in scene.bodies for c, s, _ in [scene.track(b)]]
    return any(
        (np.linalg.norm(c - d, axis=1) < 0.8 * (r + q)).any() for (c, r), (d, q) in combinations(discs, 2)
    )


def test_held_out_combinations_are_only_in_unseen(clips):
    kept_out = held_out(DEFAULT.seed)
    assert len(kept_out) == round(0.12 * len(SHAPES) * len(COLOURS) * len(MOTIONS)) == 20
    for split, clip in clips:
        combinations = [
            {(b.looks.shape, b.looks.colour, b.program[0]), (b.looks.shape, b.looks.colour, b.program[1])}
            for b in clip.scene.bodies
        ]
        if split == "unseen":
            assert all(combinations[sentence.target] & kept_out for sentence in clip.sentences)
        else:
            assert not set.union(*combinations) & kept_out


# Sentences, judged anew from the recorded scene


def fits(body, sentence) -> bool:
    """Whether the description behind a sentence is true of a body, in other words than the generator's."""
    description, looks = sentence.description, body.looks
    mentioned = [(key, value) for key, value in vars(description).items() if key in vars(looks)]
    if any(value and value != getattr(looks, key) for key, value in mentioned):
        return False
    if description.motion:
        return description.motion in (body.program[0], body.program[1])
    if description.program:
        return all(
            m == s or (s == "moving" and m in DIRECTIONS)
            for s, m in zip(description.program, body.program, strict=True)
        )
    return True


def test_sentences_denote_their_target_alone_and_keep_to_their_kind(clips):
    for _, clip in clips:
        bodies = clip.scene.bodies
        growing = any("growing" in body.program for body in bodies)
        assert clip.sentences
        for sentence in clip.sentences:
            target, description = bodies[sentence.target], sentence.description
            assert [b for b in bodies if fits(b, sentence)] == [target], sentence
            assert not (growing and description.size)
            alike = [b for b in bodies if b is not target and b.looks == target.looks]
            same_motion = [b for b in bodies if b is not target and target.program[0] in b.program]
            if sentence.kind == "appearance":
                assert not description.motion and not description.program and not alike
            elif sentence.kind == "motion":
                assert description.motion and len(alike) >= 2 and not same_motion
                assert target.program[0] == target.program[1] == description.motion
            elif sentence.kind == "both":
                parts = {key: getattr(description, key) for key in ("shape", "colour", "size")}
                mentioned = {key: value for key, value in parts.items() if value}
                matching = [b for b in bodies if all(getattr(b.looks, k) == v for k, v in mentioned.items())]
                assert mentioned and len(matching) >= 2
                assert description.motion == target.program[0] == target.program[1]
                assert same_motion and not any(b in matching for b in same_motion)
            else:
                assert description.program and not description.motion


def test_no_single_frames_flow_tells_the_temporal_target(clips):
    temporal = [(c.scene, s) for _, c in clips for s in c.sentences if s.kind in TEMPORAL]
    assert len(temporal) > 50 and any(scene.bodies[s.target].program[0] != scene.bodies[s.target].program[1]
                                      for scene, s in temporal)  # fmt: skip
    for scene, sentence in temporal:
        target = scene.bodies[sentence.target]
        for frame in range(scene.frames):
            phase = int(frame >= scene.change)
            alike = [body.program[phase] for body in scene.bodies if body.looks == target.looks]
            assert alike.count(target.program[phase]) >= 2


def scene_of(*programs, shape="circle"):
    """A scene of look-alikes, but for a red square that goes left."""
    alike, other = Looks(shape, "red", "small", "stripes"), Looks("square", "red", "small", "checks")
    still = {"at": (9, 9), "angle": 0, "velocity": ((0, 0), (0, 0)), "growth": (0, 0), "spin": (0, 0)}
    bodies = [Body(alike, program, 6, **still) for program in programs] + [
        Body(other, ("left", "left"), 6, **still)
    ]
    return Scene(tuple(bodies), change=6, annotated=(4, 6, 8), camera=(0, 0), size=(64, 64), frames=13)


def test_kinds_by_hand():
    up, down, left = ("up", "up"), ("down", "down"), ("left", "left")
    says_up = Description(shape="circle", motion="up")
    assert kind_of(scene_of(up, down, down), 0, says_up) == "motion"
    assert kind_of(scene_of(up, down), 0, says_up) is None  # one look-alike is not enough
    assert kind_of(scene_of(up, ("down", "up"), down), 0, says_up) is None  # someone else goes up, later
    assert kind_of(scene_of(left, down), 0, Description(shape="circle", motion="left")) == "both"
    assert (
        kind_of(scene_of(left, down), 0, Description(colour="red", motion="left")) is None
    )  # the square, too
    assert kind_of(scene_of(up, down), 2, Description(shape="square")) == "appearance"
    assert kind_of(scene_of(up, ("growing", "growing")), 2, Description("square", size="small")) is None
    turns = Description(program=("up", "left"))
    assert kind_of(scene_of(("up", "left"), up, left), 0, turns) == "temporal-set"
    both_ways = scene_of(("up", "left"), ("left", "up"), up, left)
    assert kind_of(both_ways, 0, turns) == "temporal-order"
    assert kind_of(both_ways, 2, Description(program=up)) == "temporal-constant"
    assert kind_of(scene_of(("up", "left"), up, down), 0, turns) is None  # going left at the end tells
    assert kind_of(scene_of(("up", "left"), down, left), 0, turns) is None  # going up at the start tells
    stops = Description(program=("moving", "still"))
    assert kind_of(scene_of(("up", "still"), up, ("still", "still")), 0, stops) == "temporal-set"
    both_ways = scene_of(("up", "still"), up, ("still", "still"), ("still", "down"))
    assert kind_of(both_ways, 0, stops) == "temporal-order"  # somebody starts to move: any direction counts
    assert kind_of(scene_of(("up", "still"), up, ("down", "still")), 0, stops) is None  # two stop


SHARES = dict(zip(KINDS, (0.23, 0.20, 0.21, 0.12, 0.10, 0.14), strict=True))


@pytest.mark.parametrize("split", ["train", "test", "unseen"])
def test_every_split_has_the_same_mix_of_kinds(split):
    kinds = Counter(s.kind for i in range(300) for s in draw_clip(DEFAULT, split, i).sentences)
    total = sum(kinds.values())
    assert total / 300 > (1.4 if split == "unseen" else 2.8)
    assert all(abs(kinds[kind] / total - share) < 0.04 for kind, share in SHARES.items()), kinds


def test_appearance_sentences_often_need_the_shape(clips):
    needed, total = 0, 0
    for _, clip in clips:
        for s in (s for s in clip.sentences if s.kind == "appearance"):
            without = Description(colour=s.description.colour, size=s.description.size)
            needed += len(denotes(clip.scene, without)) > 1
            total += 1
    assert needed / total > 0.4


def test_a_flip_swaps_left_and_right_and_nothing_else():
    """From the same random numbers, the mirrored description reads as the sentence with the words swapped."""
    mirror = {"left": "right", "right": "left"}
    swapped = re.compile(r"\b(left|right)(wards)?\b")
    for seed, motion in product(range(40), ("left", "right", "up", "still", "growing", "spinning")):
        flipped = mirror.get(motion, motion)
        one = say(Description(motion=motion), np.random.default_rng(seed))
        two = say(Description(motion=flipped), np.random.default_rng(seed))
        assert swapped.sub(lambda m: mirror[m[1]] + (m[2] or ""), one) == two
    for seed, program in product(range(40), product(("left", "down", "still"), repeat=2)):
        one = say(Description(program=program), np.random.default_rng(seed))
        two = say(Description(program=tuple(mirror.get(m, m) for m in program)), np.random.default_rng(seed))
        assert swapped.sub(lambda m: mirror[m[1]] + (m[2] or ""), one) == two
    assert set(WAYS) == set(DIRECTIONS)


# Pixels


def test_exact_flow_moves_the_masks(clips):
    """An unhidden body's visible pixels, moved by the flow, have their centre where its next mask has it."""
    off, growth = defaultdict(list), defaultdict(list)
    for scene in (clip.scene for _, clip in clips):
        rendered = Rendering(scene, frames=None, masks=visible(scene))
        for t in range(scene.annotated[0] - 3, scene.annotated[-1] + 3):
            for body, masks in zip(scene.bodies, rendered.masks, strict=True):
                if not _whole(scene, body, t) or not _whole(scene, body, t + 1):
                    continue
                y, x = np.nonzero(masks[t])
                moved = np.stack([x, y]) + rendered.flow[t][:, y, x]
                there = np.stack(np.nonzero(masks[t + 1])[::-1])
                motion = body.program[t >= scene.change]
                off[motion].append(moved.mean(1) - there.mean(1))
                growth[motion].append(there.shape[1] / len(x))
    assert set(off) == set(MOTIONS)
    for motion in MOTIONS:  # one mask's centre is known to a good half pixel only, the mean much better
        assert np.abs(off[motion]).max() < 0.8 and np.abs(np.mean(off[motion], 0)).max() < 0.1, motion
        expected = np.exp(2 * GROWTH) if motion == "growing" else 1
        assert np.mean(growth[motion]) == pytest.approx(expected, abs=0.02)


def _whole(scene, body, t) -> bool:
    """Neither hidden nor cut by the picture's edge: far from everyone else and from the border."""
    tracks = [scene.track(b) for b in scene.bodies]
    centres = [c[t] for c, _, _ in tracks]
    reaches = [1.6 * b.radius * s[t] for b, (_, s, _) in zip(scene.bodies, tracks, strict=True)]
    me = scene.bodies.index(body)
    apart = [np.linalg.norm(c - centres[me]) > r + reaches[me] for c, r in zip(centres, reaches, strict=True)]
    inside = (centres[me] > reaches[me]).all() and (
        centres[me] + reaches[me] < np.array(scene.size[::-1]) - 1
    ).all()
    return inside and sum(apart) == len(apart) - 1


def test_background_flow_is_the_cameras():
    rendered = render(MovingShapes(camera=1.0), "test", 2)
    outside = ~rendered.masks[:, 4].any(0)
    expected = np.broadcast_to(rendered.scene.camera, (outside.sum(), 2))
    assert np.linalg.norm(rendered.scene.camera) > 0.1
    np.testing.assert_allclose(rendered.flow[4][:, outside].T, expected, atol=1e-6)


def test_spinning_turns_the_picture_clockwise_where_spin_is_positive():
    for number in range(60):
        rendered = render(DEFAULT, "train", number)
        for body, masks in zip(rendered.scene.bodies, rendered.masks, strict=True):
            if body.program[0] != "spinning":
                continue
            (cx, cy), (y, x) = rendered.scene.track(body)[0][0], np.nonzero(masks[0])
            u, v = rendered.flow[0][:, y, x] - np.array(rendered.scene.camera)[:, None]
            if len(x) > 30:
                turning = ((x - cx) * v - (y - cy) * u).sum()  # y points down: positive is clockwise
                assert np.sign(turning) == np.sign(body.spin[0])
                return
    pytest.fail("no spinning body in 60 clips")


def test_other_sizes_and_lengths():
    settings = MovingShapes(height=48, width=96, frames=21, noise=0)
    rendered = render(settings, "train", 0)
    assert rendered.frames.shape == (21, 48, 96, 3) and rendered.frames.dtype == np.uint8
    assert rendered.masks.shape[1:] == (21, 48, 96) and rendered.flow.shape == (20, 2, 48, 96)
    large = render(MovingShapes(height=128, width=160), "train", 0)
    radii = [body.radius for body in large.scene.bodies]
    assert 12 <= min(radii) <= max(radii) <= 21


def test_data_of_other_settings_go_beside_and_stay(tmp_path):
    few, more = (MovingShapes(train_clips=n, test_clips=1, unseen_clips=1) for n in (1, 2))
    first = writing.write(tmp_path / "data", few, progress=False)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    second = writing.write(tmp_path / "data", more, progress=False)
    assert first == tmp_path / "data" != second and second.name.startswith("data-")
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    assert writing.home(tmp_path / "data", few) == first and writing.home(tmp_path / "data", more) == second
    assert writing.home(tmp_path / "new", more) == tmp_path / "new"
