"""open_video: whatever holds frames gives them upright, in order, with times; damage is told, not hidden."""

import struct
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from mmvs.video.files import VideoError, frame_size, read_frames, write_video
from mmvs.video.stream import open_video

H, W, COUNT = 48, 64, 12


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A bright square that wanders over a grey ramp: every frame differs, and up differs from down."""
    ramp = np.linspace(40, 160, H)[:, None, None] * np.ones((1, W, 3))
    video = np.repeat(ramp[None], COUNT, axis=0)
    for t in range(COUNT):
        video[t, 4:16, 4 * t : 4 * t + 12] = (250, 60, 60)
    return video.astype(np.uint8)


def coded(path, frames, codec="libx264", times=None, container=None, **options):
    """Write any container; times in milliseconds."""
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, 25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for t, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times is not None:
                picture.pts, picture.time_base = times[t], stream.codec_context.time_base
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return np.abs(one.astype(int) - other).mean() < 8


def test_a_file_gives_the_frames_that_training_reads(frames, tmp_path):
    write_video(tmp_path / "clip.mp4", frames)
    source = open_video(tmp_path / "clip.mp4")
    assert source.size == (H, W) and source.count == COUNT
    for _ in range(2):  # it can be gone through again
        times, read = zip(*source, strict=True)
        assert np.array_equal(np.stack(read), read_frames(tmp_path / "clip.mp4", range(COUNT)))
        assert np.allclose(times, np.arange(COUNT) / 25) and source.damage == ""


@pytest.mark.parametrize(
    "name, codec",
    [
        ("a.webm", "libvpx-vp9"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.gif", "gif"),
        ("a.mov", "mjpeg"),
    ],
)
def test_containers_and_codecs(frames, tmp_path, name, codec):
    source = open_video(coded(tmp_path / name, frames, codec))
    read = [frame for _, frame in source]
    assert len(read) == COUNT and source.size == (H, W) and source.damage == ""
    assert all(close(one, other) for one, other in zip(read, frames, strict=True)) or codec == "gif"


def test_a_varying_frame_rate_keeps_its_times(frames, tmp_path):
    times = [0, 40, 100, 500, 520, 900, 1000, 1100, 1150, 1200, 1900, 2000]
    source = open_video(coded(tmp_path / "a.mkv", frames, times=times))
    assert [round(1000 * seconds) for seconds, _ in source] == times


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_display_matrix_turns_and_mirrors_the_picture(frames, tmp_path, turns, mirrored):
    path = tmp_path / "phone.mp4"
    write_video(path, frames)
    stored = read_frames(path, range(COUNT))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # of the track header's version 0
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]  # clockwise by a quarter turn each
    side = -1 if mirrored else 1  # x runs the other way, before the picture is turned
    content[matrix : matrix + 36] = struct.pack(
        ">9i", side * a << 16, side * b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)
    source = open_video(path)
    assert source.size == frame_size(path) == ((W, H) if turns % 2 else (H, W))
    expected = np.rot90(stored[:, :, ::-1] if mirrored else stored, -turns, axes=(1, 2))
    assert np.array_equal(np.stack([frame for _, frame in source]), expected)
    assert np.array_equal(read_frames(path, range(COUNT)), expected)  # a data set's clip is no other


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize(
    "stored, shown", [(Fraction(2), 2.0), (Fraction(10, 11), 10 / 11), (Fraction(500), 1.0), (None, 1.0)]
)
def test_the_shape_of_a_pixel_is_known(frames, tmp_path, name, stored, shown):
    with av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream("libx264", 25)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        if stored:
            stream.codec_context.sample_aspect_ratio = stored
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    source = open_video(tmp_path / name)
    assert source.pixel_aspect == pytest.approx(shown, rel=1e-3) and source.size == (H, W)


def test_a_video_on_its_side_has_its_pixels_on_their_side(frames, tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", 25)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # of the track header's version 0
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    source = open_video(tmp_path / "a.mp4")
    assert source.size == (W, H) and source.pixel_aspect == 0.5


def test_a_text_is_no_video(tmp_path):
    """FFmpeg would typeset it."""
    (tmp_path / "notes.txt").write_text("hello\n" * 100)
    with pytest.raises(VideoError, match="notes.txt: not a video, but a text"):
        open_video(tmp_path / "notes.txt")


def test_frames_of_varying_length_are_counted(frames, tmp_path):
    times = [0, 40, 100, 500, 520, 900, 1000, 1100, 1150, 1200, 1900, 2000]
    assert open_video(coded(tmp_path / "a.mkv", frames, times=times)).count == len(times)


def test_a_folder_in_the_order_of_its_numbers(frames, tmp_path):
    for t in (10, 9, 2, 1, 0):
        Image.fromarray(frames[t]).save(tmp_path / f"frame{t}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    source = open_video(tmp_path, fps=10)
    times, read = zip(*source, strict=True)
    assert np.array_equal(np.stack(read), frames[[0, 1, 2, 9, 10]]) and np.allclose(times, np.arange(5) / 10)
    (tmp_path / "frame2.png").write_bytes(b"no PNG")
    assert len(list(source)) == 4 and "frame2.png" in source.damage


def test_arrays_tensors_and_generators(frames):
    for video in (frames, torch.from_numpy(frames), (frame for frame in frames), list(frames)):
        assert np.array_equal(np.stack([frame for _, frame in open_video(video)]), frames)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (333, 1), (31, 17)])
def test_odd_sizes(size):
    frames = np.random.default_rng(0).integers(0, 255, (2, *size, 3), dtype=np.uint8)
    assert open_video(frames).size == size


@pytest.mark.parametrize(
    "name, codec, share, message",
    [("a.mp4", "libx264", 0.67, "of 12 frames"), ("a.webm", "libvpx-vp9", 0.33, "of 0.48 s")],
)
def test_a_truncated_file_gives_what_decodes_and_says_where_it_ends(
    frames, tmp_path, name, codec, share, message
):
    noise = np.random.default_rng(0).integers(0, 255, frames.shape, dtype=np.uint8)  # frames of equal bytes
    container = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = coded(tmp_path / name, noise, codec, container=container)
    whole = [frame for _, frame in open_video(path)]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    source = open_video(path)
    left = [frame for _, frame in source]
    assert 1 < len(left) < COUNT and message in source.damage, source.damage
    assert f"frame {len(left) - 1}, at {(len(left) - 1) / 25:.2f} s" in source.damage
    assert all(np.array_equal(one, other) for one, other in zip(left[:2], whole, strict=False))


def test_frames_in_the_middle_that_do_not_decode_are_left_out_and_told_of(frames, tmp_path):
    path = coded(tmp_path / "a.avi", frames, "mjpeg")
    content = bytearray(path.read_bytes())
    starts = [i for i in range(len(content)) if content[i : i + 3] == b"\xff\xd8\xff"]
    content[starts[5] : starts[6] - 8] = bytes(starts[6] - 8 - starts[5])
    path.write_bytes(content)
    source = open_video(path)
    assert (
        len(list(source)) == COUNT - 1 and "1 packets do not decode, the first after frame 4" in source.damage
    )


def test_what_is_no_video_is_refused_with_the_reason(tmp_path):
    (tmp_path / "text.mp4").write_text("I am no video")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000), sound.writeframes(bytes(4000))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    for video, reason in [
        (tmp_path / "text.mp4", "text.mp4: not a video"),
        (tmp_path / "sound.wav", "sound.wav: holds no video, only audio"),
        (tmp_path / "empty.mp4", "empty.mp4: not a video"),
        (tmp_path / "gone.mp4", "gone.mp4: no such file"),
        (tmp_path / "folder", "folder: holds no picture"),
        (np.zeros((0, 8, 8, 3), np.uint8), "holds no frame"),
        (np.zeros((2, 8, 8, 3), np.float32), "expected uint8"),
        (iter([]), "no frame"),
        (3, "not a <class 'int'>"),
    ]:
        with pytest.raises(VideoError, match=reason):
            open_video(video)


def test_frames_of_a_generator_have_one_size():
    frames = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
    with pytest.raises(VideoError, match=r"frame 1 is \(8, 9\)"):
        list(open_video(iter(frames)))
