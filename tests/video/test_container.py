"""mmvs.video.container: a file that holds its own frames is opened whatever its name, nothing else is."""

import os
import wave

import av
import numpy as np
import pytest

from mmvs.video.files import VideoError, frame_count, frame_size, read_frames, write_video
from mmvs.video.stream import open_video

READERS = {"data set": lambda path: read_frames(path, [0]), "count": frame_count, "segment": open_video}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), dtype=np.uint8))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "12:30:05.mp4",
        "http:a.mp4",
        "a%20b.mp4",
        "%03d.mp4",
        "a?b#c.mp4",
        "-i.mp4",
        "a\nb.mp4",
        "é漢.mp4",
        "a|b.mp4",
    ]
    + [os.fsdecode(b"latin\xe9.mp4"), "concat:a.mp4", "no suffix", "clip.dat"],
)
def test_a_name_is_a_name(clip, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(clip.read_bytes())
    for path in (name, tmp_path / name):
        assert frame_count(path) == len(list(open_video(path))) == 5 and frame_size(path) == (32, 48)
        np.testing.assert_array_equal(read_frames(path, range(5)), read_frames(clip, range(5)))


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.mp4\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile 'clip.mp4'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period/></MPD>',
    "text": "hello\n" * 100,
}


@pytest.mark.parametrize("suffix", [".m3u8", ".ffconcat", ".sdp", ".mpd", ".mp4", ".txt"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_list_of_other_files_is_refused(clip, tmp_path, kind, suffix):
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    path = tmp_path / f"list{suffix}"
    path.write_text(PLAYLISTS[kind])
    for read in READERS.values():
        with pytest.raises(VideoError, match=rf"list{suffix}: not a video"):
            read(path)


def test_an_address_that_names_other_protocols_is_no_address(clip):
    for name in (f"concat:file://{clip}|file://{clip}", f"subfile,,start,0,end,0,,:file://{clip}"):
        with pytest.raises(VideoError, match="no such file"):
            open_video(name)


def test_pictures_beside_a_numbered_one_are_not_read(tmp_path):
    from PIL import Image

    for number in range(3):
        Image.new("RGB", (8, 8), (90 * number, 0, 0)).save(tmp_path / f"{number:03d}.png")
    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "%03d.png")
    [(_, frame)] = open_video(tmp_path / "%03d.png")
    assert (frame == (0, 255, 0)).all()


def test_an_unknown_codec_is_named(clip, tmp_path):
    path = tmp_path / "new.mp4"
    path.write_bytes(clip.read_bytes().replace(b"avc1", b"zzzz"))
    for read in READERS.values():
        with pytest.raises(VideoError, match=r"new\.mp4: nothing here decodes its codec .*zzzz"):
            read(path)


def test_titles_may_be_in_any_encoding(clip, tmp_path):
    path = tmp_path / "title.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as out:
        out.metadata["title"] = "TITLEXX"
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.metadata["title"] = "STREAMX"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    latin = (
        path.read_bytes().replace(b"TITLEXX", b"caf\xe9\xff\xfe!").replace(b"STREAMX", b"caf\xe9\xff\xfe!")
    )
    path.write_bytes(latin)
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    assert frame_count(path) == len(list(open_video(path))) == 5


def test_a_cover_is_no_video(clip, tmp_path):
    path = tmp_path / "cover.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as out:
        cover = out.add_stream("mjpeg", 25)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = out.add_stream_from_template(source.streams.video[0])
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        out.mux(cover.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert frame_size(path) == open_video(path).size == (32, 48)
    assert frame_count(path) == len(list(open_video(path))) == 5


def test_what_holds_no_video_is_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    with wave.open(str(tmp_path / "sound.mp4"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000), sound.writeframes(bytes(4000))
    (tmp_path / "folder.mp4").mkdir()
    for read in READERS.values():
        for name in ("empty.mp4", "zeros.mp4", "sound.mp4", "folder.mp4"):
            with pytest.raises(VideoError, match=name):
                read(tmp_path / name)
