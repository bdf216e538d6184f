"""Excerpt: the frames of some seconds, at the times and numbers that they have in the whole video."""

import av
import numpy as np
import pytest
from PIL import Image

from mmvs.video.container import VideoError
from mmvs.video.excerpt import Excerpt, seconds
from mmvs.video.files import write_video
from mmvs.video.stream import open_video

COUNT = 50  # frames at 25 a second: two seconds


@pytest.fixture(scope="module", params=["array", "mp4", "avi", "folder"])
def video(request, tmp_path_factory):
    """What opens the same frames, of a grey that tells their number, however they are kept."""
    frames = np.stack([np.full((32, 48, 3), 5 * t, np.uint8) for t in range(COUNT)])
    if request.param == "array":
        return lambda: open_video(frames)
    folder = tmp_path_factory.mktemp("video")
    if request.param == "folder":
        for t, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{t}.png")
        return lambda: open_video(folder)
    path = folder / f"clip.{request.param}"
    if request.param == "mp4":
        write_video(path, frames)
    else:  # whose packets do not tell the times of its frames
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", 25)
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    return lambda: open_video(path)


def numbers(source) -> list[int]:
    """Numbers of the frames by what they show; the source's own numbers and times are held against them."""
    shown = [(time, round(frame.mean() / 5)) for time, frame in source]
    assert [source.numbers[k] for k in range(len(shown))] == [number for _, number in shown]
    assert [source.begin + time for time, _ in shown] == pytest.approx([n / 25 for _, n in shown], abs=1e-3)
    assert shown[0][0] == 0
    assert source.count in (None, len(shown))
    return [number for _, number in shown]


@pytest.mark.parametrize(
    "excerpt, expected",
    [
        (Excerpt(1.0), range(25, 50)),
        (Excerpt(0, 1.0), range(25)),
        (Excerpt(0.99, 1.01), [25]),
        (Excerpt(0.5, 1.0), range(13, 25)),
        (Excerpt(1.96, 2.0), [49]),
        (Excerpt(fps=5), range(0, 50, 5)),
        (Excerpt(fps=10), [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38, 40, 43, 45, 48]),
        (Excerpt(fps=100), range(50)),
        (Excerpt(fps=0.5), [0]),
        (Excerpt(0.4, 1.2, 5), [10, 15, 20, 25]),
    ],
)
def test_frames_of_an_excerpt(video, excerpt, expected):
    assert numbers(excerpt.of(video())) == list(expected)


def test_two_excerpts_that_meet_have_every_frame_once(video):
    for cut in (0.5, 0.52, 1.0, 1 / 3):
        both = numbers(Excerpt(0, cut).of(video())) + numbers(Excerpt(cut).of(video()))
        assert both == list(range(COUNT))


@pytest.mark.parametrize(
    "excerpt, reason",
    [
        (Excerpt(-1), "begins at 0"),
        (Excerpt(float("nan")), "begins at 0"),
        (Excerpt(1, 1), "start 1 s, end 1 s: an excerpt begins before it ends"),
        (Excerpt(1, 0.5), "before it ends"),
        (Excerpt(0, float("nan")), "before it ends"),
        (Excerpt(fps=0), "more than 0"),
        (Excerpt(fps=-5), "more than 0"),
        (Excerpt(2.0), "2 s.*1.96 s"),
        (Excerpt(0.97, 0.99), "no frame from 0.97 s to 0.99 s"),
    ],
)
def test_what_cannot_be_is_refused_at_once(video, excerpt, reason):
    with pytest.raises(ValueError, match=reason):
        excerpt.of(video())


def test_an_end_beyond_the_video_is_refused_where_its_length_is_known(video):
    source = video()
    if source.times is None:
        assert len(numbers(Excerpt(1, 9).of(source))) == 25
    else:
        with pytest.raises(VideoError, match=r"end 9 s is beyond the video's, at 2.00 s"):
            Excerpt(1, 9).of(source)


def test_the_whole_video_stays_itself(video):
    source = video()
    assert Excerpt().of(source) is source


def test_every_second_frame_of_rounded_times():
    """30 frames a second in milliseconds, as Matroska has them."""
    times = [round(1000 * t / 30) / 1000 for t in range(300)]
    counts = Excerpt(fps=15)._choice()
    assert [t for t, time in enumerate(times) if counts(time)] == list(range(0, 300, 2))


@pytest.mark.parametrize(
    "clock, expected",
    [
        ("12.5", 12.5),
        ("0", 0),
        ("90", 90),
        ("1:05", 65),
        ("01:00:05.25", 3605.25),
        (" 2:00 ", 120),
        (".5", 0.5),
    ],
)
def test_seconds_of_a_clock(clock, expected):
    assert seconds(clock) == expected


@pytest.mark.parametrize(
    "clock", ["", "abc", "-1", "1:60", "1:60:00", "1:2:3:4", "1:", "1e3", "nan", "1,5", "٣"]
)
def test_what_is_no_time_is_refused(clock):
    with pytest.raises(ValueError, match="is no time"):
        seconds(clock)
