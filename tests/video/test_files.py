"""mmvs.video.files: the frame asked for is the frame that comes, whatever the file's layout."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from mmvs.video import files
from mmvs.video.files import VideoError, frame_count, frame_size, read_frames, window, write_video

SIZE = (48, 80)


def painted(index):
    """A frame that tells its index: 8 bars, one a binary digit, coarse enough to survive compression."""
    bits = np.repeat([index >> k & 1 for k in range(8)], SIZE[1] // 8)
    return np.broadcast_to(bits[None, :, None] * 200 + 20, (*SIZE, 3)).astype(np.uint8)


def number_in(frame):
    """The index that `painted` put into a frame."""
    bars = frame.mean(axis=(0, 2)).reshape(8, -1).mean(axis=1) > 120
    return sum(1 << k for k in range(8) if bars[k])


def encode(path, times, codec="libx264", container_options=None, **options):
    """Write painted frames shown at `times`, in units of 1/25 s, by PyAV directly."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, 25, options)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(painted(index), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


GOP = {"g": "12", "bf": "3", "x264-params": "scenecut=0:b-pyramid=2"}
VARYING = np.cumsum([2, 1, 5, 1, 1, 9] * 15).tolist()
LAYOUTS = {
    "b_frames.mp4": (range(90), {**GOP}),
    "open_gop.mp4": (range(90), {**GOP, "x264-params": "scenecut=0:open-gop=1:b-adapt=0"}),
    "late_start.mp4": (range(50, 140), {**GOP, "container_options": {"use_editlist": "0"}}),
    "varying_rate.mp4": (VARYING, {**GOP}),
    "fragments.mp4": (range(90), {**GOP, "container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "transport.ts": (range(90), {**GOP}),
    "matroska.mkv": (range(90), {**GOP}),
    "mpeg4_b_frames.mp4": (range(90), {"codec": "mpeg4", "g": "12", "bf": "2"}),
    "no_b_frames.mov": (range(90), {**GOP, "bf": "0"}),
    "mpeg4.avi": (range(90), {"codec": "mpeg4", "g": "12"}),
    "no_time_stamps.h264": (range(90), {**GOP}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_index_of_a_long_clip_equals_decoding_everything(tmp_path, name):
    times, options = LAYOUTS[name]
    path = encode(tmp_path / name, times, **options)
    with av.open(str(path)) as container:
        everything = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frame_count(path) == len(everything) == 90
    assert [number_in(frame) for frame in everything] == list(range(90))
    for index in range(90):
        np.testing.assert_array_equal(read_frames(path, [index])[0], everything[index])


def test_the_long_clip_has_what_it_is_meant_to_have(tmp_path):
    times, options = LAYOUTS["late_start.mp4"]
    with av.open(str(encode(tmp_path / "clip.mp4", times, **options))) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.size]
        assert stream.start_time > 0
        assert sum(p.is_keyframe for p in packets) == 8  # 90 frames in groups of 12
        assert [p.pts for p in packets] != sorted(p.pts for p in packets)  # B-frames


def test_indices_may_repeat_and_need_no_order(tmp_path):
    path = encode(tmp_path / "clip.mp4", range(40), **GOP)
    order = [39, 3, 3, 25, 0, 39, 24]
    assert [number_in(frame) for frame in read_frames(path, order)] == order
    assert read_frames(path, []).shape == (0, *SIZE, 3)


def test_only_the_groups_of_wanted_frames_are_labels(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.mp4", range(90), **GOP)
    labels = []

    def counting(upright, labelled, indices):
        return pick(upright, ((label, labels.append(label) or frame) for label, frame in labelled), indices)

    pick = files._pick
    monkeypatch.setattr(files, "_pick", counting)
    assert [number_in(f) for f in read_frames(path, [2, 86])] == [2, 86]
    assert len(labels) <= 3 + 3  # 0, 1, 2 of the first group; 84, 85, 86 of the last
    labels.clear()
    read_frames(path, [84])
    assert len(labels) == 1  # a key frame needs no other


def test_frames_that_nothing_leans_on_are_not_labels(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.mp4", range(90), g="250", bf="3")
    pick, labels = files._pick, []
    monkeypatch.setattr(
        files,
        "_pick",
        lambda upright, frames, indices: pick(upright, (labels.append(1) or f for f in frames), indices),
    )
    for index in range(85, 90):  # wanted ones are, whether others lean on them or not
        assert [number_in(f) for f in read_frames(path, [index])] == [index]
    assert len(labels) < 5 * 90 * 2 / 3


def test_written_clip_comes_back(tmp_path):
    frames = np.stack([painted(i) for i in range(13)])
    path = tmp_path / "deep" / "clip.mp4"
    write_video(path, frames, fps=12.5)
    assert frame_count(path) == 13 and frame_size(path) == SIZE
    assert np.abs(read_frames(path, range(13)).astype(int) - frames).mean() < 4
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.pix_fmt == "yuv420p"
        assert stream.average_rate == Fraction(25, 2)


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video("run:1/12:30.mp4", np.stack([painted(i) for i in range(3)]))
    assert frame_count("run:1/12:30.mp4") == 3


def test_writing_is_reproducible_and_leaves_nothing_else(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 320, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", frames)
    write_video(tmp_path / "b.mp4", frames)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    assert b" threads=1 " in (tmp_path / "a.mp4").read_bytes()  # where x264 states its settings


def test_lower_crf_keeps_more(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (9, *SIZE, 3), dtype=np.uint8)
    write_video(tmp_path / "fine.mp4", frames, crf=5)
    write_video(tmp_path / "coarse.mp4", frames, crf=40)
    assert (tmp_path / "fine.mp4").stat().st_size > 2 * (tmp_path / "coarse.mp4").stat().st_size


@pytest.mark.parametrize(
    "frames",
    [np.zeros((3, 47, 80, 3), "u1"), np.zeros((0, 48, 80, 3), "u1"), np.zeros((3, 48, 80, 3), "f4")],
    ids=["odd", "empty", "float"],
)
def test_frames_that_cannot_be_written(tmp_path, frames):
    with pytest.raises(VideoError, match="clip.mp4"):
        write_video(tmp_path / "clip.mp4", frames)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")

    def full(*_):
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(VideoError, match="clip.mp4.*disk full"):
        write_video(path, np.zeros((2, 32, 32, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"] and path.read_bytes() == b"old"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_a_window_is_the_published_range(size):
    assert window(20, size, 1, 100) == list(range(20 - size // 2, 20 + (size + 1) // 2))


def test_a_window_is_clamped_and_strided():
    assert window(1, 5, 2, 4) == [0, 0, 1, 3, 3]
    for size, stride, count in ((0, 1, 9), (3, 0, 9), (3, 1, 0)):
        with pytest.raises(ValueError, match="a window needs"):
            window(0, size, stride, count)


def test_errors_name_the_file(tmp_path):
    path = encode(tmp_path / "clip.mp4", range(30), container_options={"movflags": "faststart"}, **GOP)
    whole = path.read_bytes()
    for index in (30, -1):
        with pytest.raises(VideoError, match=r"clip\.mp4: has 30 frames"):
            read_frames(path, [0, index])
    with av.open(str(path)) as container:
        last = [p.pos for p in container.demux(video=0) if p.size][-1]
    cases = {"cut": whole[:-5], "short": whole[:last], "empty": b"", "noise": bytes(range(256)) * 8}
    for name, content in cases.items():
        bad = tmp_path / f"{name}.mp4"
        bad.write_bytes(content)
        with pytest.raises(VideoError, match=f"{name}.mp4"):
            read_frames(bad, range(30))
        with pytest.raises(VideoError, match=f"{name}.mp4"):
            frame_count(bad)
    for ask in (frame_count, frame_size, lambda p: read_frames(p, [0])):
        with pytest.raises(VideoError, match=r"absent\.mp4: no such video"):
            ask(tmp_path / "absent.mp4")


def test_most_damage_inside_a_clip_is_noticed(tmp_path):
    """Arithmetic code can stay valid; but left to itself the decoder would hide two thirds of the damage."""
    path = tmp_path / "clip.mp4"
    texture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    write_video(path, np.stack([np.roll(texture, k, 1) for k in range(13)]))
    whole, noticed = path.read_bytes(), 0
    starts = range(whole.index(b"mdat") + 900, whole.index(b"moov") - 200, 400)
    for start in starts:
        flipped = bytes(255 - byte for byte in whole[start : start + 200])
        path.write_bytes(whole[:start] + flipped + whole[start + 200 :])
        try:
            read_frames(path, range(13))
        except VideoError:
            noticed += 1
    assert noticed > len(starts) / 2 > 5
