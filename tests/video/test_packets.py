"""mmvs.video.packets: the frames that a file shows, and a cut only where the file itself proves one."""

import struct

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from mmvs.video.files import VideoError, frame_count, read_frames
from mmvs.video.stream import open_video
from tests.video.test_files import encode, number_in, painted

OPEN = {"g": "10", "bf": "3", "x264-params": "scenecut=0:open-gop=1:b-adapt=0:repeat-headers=1"}
CLOSED = {"g": "10", "bf": "2", "x264-params": "scenecut=0"}


def numbers(path):
    """The painted numbers that both readers give, and the times; both must agree, and nothing be damaged."""
    source = open_video(path)
    times, frames = zip(*source, strict=True)
    assert source.damage == "" and source.count in (None, len(frames))
    assert frame_count(path) == len(frames)
    np.testing.assert_array_equal(read_frames(path, range(len(frames))), np.stack(frames))
    np.testing.assert_array_equal(read_frames(path, [len(frames) - 1])[0], frames[-1])
    with pytest.raises(VideoError, match="frames"):
        read_frames(path, [len(frames)])
    return [number_in(frame) for frame in frames], [round(25 * time) for time in times]


def without(source, path, unwanted):
    """Copy a video without coding it anew, less the packets that are unwanted."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for index, packet in enumerate(p for p in old.demux(video=0) if p.size):
            if not unwanted(index, packet):
                packet.stream = stream
                new.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
@pytest.mark.parametrize("first", ["key", "middle"])
def test_a_cut_in_an_open_group_begins_where_decoding_can(tmp_path, suffix, first):
    whole = encode(tmp_path / ("whole.ts" if suffix == ".ts" else "whole.mkv"), range(40), **OPEN)
    with av.open(str(whole)) as container:
        keys = [i for i, p in enumerate(p for p in container.demux(video=0) if p.size) if p.is_keyframe]
    begin = keys[1] if first == "key" else keys[1] - 4
    path = without(whole, tmp_path / f"cut{suffix}", lambda index, _: index < begin)
    shown, times = numbers(path)
    assert shown == list(range(shown[0], 40)) and 9 <= shown[0] <= 13  # no frame leans on what is gone
    assert times == list(range(len(shown)))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("name", ["clip.ts", "clip.mp4", "clip.dat", "clip"])
def test_a_broadcast_begins_anywhere_under_any_name(tmp_path, name, codec):
    options = CLOSED if codec == "libx264" else {"g": "10"}
    content = encode(tmp_path / "whole.ts", range(40), codec=codec, **options).read_bytes()
    (tmp_path / name).write_bytes(content)
    assert numbers(tmp_path / name)[0] == list(range(40))
    (tmp_path / name).write_bytes(content[188 * (len(content) // 188 // 4) + 77 :])
    shown = numbers(tmp_path / name)[0]
    assert shown == list(range(shown[0], 40)) and 0 < shown[0] <= 20


@pytest.mark.parametrize("first, count", [(0, 10), (3, 5), (10, 10), (13, 12), (30, 10), (36, 4)])
def test_an_edit_list_hides_frames(tmp_path, first, count):
    path = encode(tmp_path / "trim.mp4", range(40), **CLOSED)
    content = bytearray(path.read_bytes())
    place = content.index(b"elst") + 12
    units = [struct.unpack(">I", content[content.index(box) + 16 :][:4])[0] for box in (b"mvhd", b"mdhd")]
    _, start = struct.unpack(">Ii", content[place : place + 8])
    times = count * units[0] // 25, start + first * units[1] // 25
    content[place : place + 8] = struct.pack(">Ii", *times)
    path.write_bytes(content)
    assert numbers(path) == (list(range(first, first + count)), list(range(count)))


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
@pytest.mark.parametrize("dropped", [range(3, 6), range(7, 10), range(1, 9)])
def test_frames_that_a_camera_dropped_are_no_cut(tmp_path, dropped, codec):
    times = [time for time in range(10) if time not in dropped]
    with av.open(str(tmp_path / "drops.avi"), "w") as container:
        stream = container.add_stream(codec, 25, {"bf": "0"} if codec == "mpeg4" else {})
        stream.height, stream.width = 48, 80
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for time in times:
            frame = av.VideoFrame.from_ndarray(painted(time), format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path = tmp_path / "drops.avi"
    if dropped[-1] == 9:  # the header goes on counting
        content = bytearray(path.read_bytes())
        length = content.index(b"strh") + 8 + 32
        content[length : length + 4] = struct.pack("<I", 10)
        path.write_bytes(content)
    assert numbers(path) == (times, times)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mov", ".ts"])
def test_a_late_start_is_no_cut(tmp_path, suffix):
    codec = {"codec": "libvpx-vp9"} if suffix == ".webm" else CLOSED
    path = encode(tmp_path / f"late{suffix}", range(150, 170), **codec)
    assert numbers(path) == (list(range(20)), list(range(20)))


@pytest.mark.parametrize("name", ["clip.avi", "clip.flv", "clip.nut"])
def test_b_frames_come_in_the_order_of_display(tmp_path, name):
    assert numbers(encode(tmp_path / name, range(40), **CLOSED))[0] == list(range(40))


CUTS = {
    "cut.mp4": {"container_options": {"movflags": "faststart"}, **CLOSED},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}, **CLOSED},
    "cut.avi": {"codec": "mpeg4"},
    "cut.mkv": CLOSED,
    "cut.ts": CLOSED,
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("left", [15, 35])
def test_a_file_that_lost_its_end_is_damaged(tmp_path, name, left):
    path = encode(tmp_path / name, range(40), **CUTS[name])
    assert numbers(path)[0] == list(range(40))
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][left]
    path.write_bytes(path.read_bytes()[: place + 20])
    source = open_video(path)
    assert len(list(source)) < 40 and "cut short" in source.damage
    with pytest.raises(VideoError, match=f"{name}: cut short"):
        frame_count(path)


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
@pytest.mark.parametrize("begin", range(2, 48, 3))
def test_no_cut_costs_a_frame_that_ffmpeg_shows(tmp_path, suffix, begin):
    """Wherever a copy begins: the frames are those of FFmpeg's decoder, to the end, without damage."""
    open_groups = "open-gop=1:keyint=10:min-keyint=10:bframes=3:scenecut=0:b-pyramid=none:repeat-headers=1"
    whole = encode(tmp_path / "whole.ts", range(60), **{"x264-params": open_groups})
    path = without(whole, tmp_path / f"cut{suffix}", lambda index, _: index < begin)
    with av.open(str(path)) as container:
        expected = [number_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    shown, times = numbers(path)
    assert shown == expected and shown[-1] == 59
    assert times == [number - shown[0] for number in shown]


def test_frames_of_h264_in_an_avi_keep_their_distance(tmp_path):
    """An AVI says when its frames are decoded, which B-frames are not in the order of."""
    path = encode(tmp_path / "clip.avi", range(40), g="12", bf="3")
    assert numbers(path) == (list(range(40)), list(range(40)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_turn_that_the_pictures_say_lasts_until_the_next(tmp_path, suffix):
    """H.264's own message stands before key frames alone; it is that of all frames up to the next one."""
    whole = encode(tmp_path / "whole.mp4", range(40), **CLOSED)
    path = tmp_path / f"turned{suffix}"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        coded = old.streams.video[0]
        stream = new.add_stream_from_template(coded)
        add = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=90", coded, stream)
        for packet in [p for p in old.demux(coded) if p.size] + [None]:
            for turned in add.filter(packet):
                turned.stream = stream
                new.mux(turned)
    upright = [np.rot90(frame) for _, frame in open_video(whole)]
    shown = [frame for _, frame in open_video(path)]
    np.testing.assert_array_equal(np.stack(shown), np.stack(upright))
    np.testing.assert_array_equal(read_frames(path, range(40)), np.stack(upright))
    np.testing.assert_array_equal(read_frames(path, [17])[0], upright[17])
