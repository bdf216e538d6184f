"""Overlays: every mask in its sentence's colour, even sizes, times kept, no half-written file."""

from pathlib import Path

import av
import numpy as np
import pytest

from mmvs.segmenter.overlay import LARGEST, SMALLEST, Overlay, write_overlay
from mmvs.video.colours import SENTENCES as COLOURS


def test_colours_where_the_masks_are_and_the_picture_where_they_are_not():
    frame = np.full((200, 400, 3), 100, np.uint8)
    masks = np.zeros((2, 200, 400), bool)
    masks[0, 20:80, 20:200] = True
    masks[1, 50:120, 150:300] = True
    overlay = Overlay((200, 400), ["one", "two"])
    picture = overlay(frame, masks)[len(overlay.legend) :]
    first, second = (np.array(colour) for colour in COLOURS[:2])
    assert np.abs(picture[30, 50] - (first + 100) / 2).max() <= 1
    assert np.abs(picture[100, 280] - (second + 100) / 2).max() <= 1
    assert np.abs(picture[60, 170] - ((first + 100) / 2 + second) / 2).max() <= 1, (
        "where they overlap both show"
    )
    assert (picture[150, 50] == 100).all()
    assert (picture[20, 60] == first).all(), "its edge in its full colour"


@pytest.mark.parametrize("place", ["corners", "everywhere", "nowhere", "two parts with holes"])
def test_painting_is_of_masks_and_their_edges_alone(place):
    frame = np.random.default_rng(0).integers(0, 255, (40, 400, 3), dtype=np.uint8)
    mask = np.zeros((40, 400), bool)
    if place == "everywhere":
        mask[:] = True
    elif place == "corners":
        mask[:9, :12] = mask[-9:, -12:] = True
    elif place == "two parts with holes":
        mask[4:30, 10:60] = mask[8:38, 200:390] = True
        mask[12:20, 20:40] = mask[15:30, 250:300] = False
    overlay = Overlay((40, 400), ["one"])
    picture = overlay(frame, mask[None])[len(overlay.legend) :].astype(int)
    assert (picture[~mask] == frame[~mask]).all()
    below, right = np.pad(mask, 1)[2:, 1:-1], np.pad(mask, 1)[1:-1, 2:]
    above, left = np.pad(mask, 1)[:-2, 1:-1], np.pad(mask, 1)[1:-1, :-2]
    edge = mask & ~(below & right & above & left)
    assert (picture[edge] == COLOURS[0]).all()
    changed = np.abs(picture[mask] - (frame[mask].astype(int) + COLOURS[0]) / 2).max(axis=-1) <= 1
    assert (changed | (picture[mask] == COLOURS[0]).all(axis=-1)).all()


@pytest.mark.parametrize(
    "size, drawn",
    [
        ((64, 64), (320, 320)),
        ((480, 854), (480, 854)),
        ((1, 1), (320, 320)),
        ((33, 401), (34, 402)),
        ((4320, 7680), (1080, 1920)),
        ((5000, 1), (1920, 320)),
    ],
)
def test_every_size_gives_a_readable_even_one(size, drawn):
    overlay = Overlay(size, ["the red circle"])
    picture = overlay(np.zeros((*size, 3), np.uint8), np.ones((1, *size), bool))
    assert picture.shape == (drawn[0] + overlay.legend.shape[0], drawn[1], 3)
    assert not picture.shape[0] % 2 and not picture.shape[1] % 2
    assert max(overlay.size) <= LARGEST and picture.shape[1] >= SMALLEST
    assert picture[len(overlay.legend) :].any(), "a mask of one pixel shows"


@pytest.mark.parametrize(
    "size, aspect, drawn",
    [
        ((48, 64), 2, (144, 384)),  # 8 : 3, three times as large
        ((48, 64), 0.5, (480, 320)),
        ((576, 720), 64 / 45, (576, 1024)),  # PAL 16 : 9
        ((480, 640), 10 / 11, (528, 640)),  # NTSC
        ((1080, 1440), 4 / 3, (1080, 1920)),  # HDV
        ((2160, 3840), 2, (540, 1920)),
        ((1, 1000), 8, (1, 1920)),
    ],
)
def test_pixels_that_are_not_square_are_drawn_as_a_player_shows_them(size, aspect, drawn):
    overlay = Overlay(size, ["one"], aspect)
    assert overlay.size == drawn
    mask = np.zeros((1, *size), bool)
    mask[0, : size[0] // 2, : size[1] // 4] = True
    picture = overlay(np.zeros((*size, 3), np.uint8), mask)[len(overlay.legend) :]
    left = (picture.shape[1] - drawn[1]) // 2
    painted = picture.any(axis=-1)[:, left:]
    if size[0] > 1:
        high, wide, edge = painted[:, 0].sum(), painted[0].sum(), max(1, drawn[1] // 600)
        assert abs(high - drawn[0] / 2) <= edge and abs(wide - drawn[1] / 4) <= edge


def test_the_legend_names_every_sentence_in_its_colour():
    few = Overlay((100, 400), ["one", "two"]).legend
    many = Overlay((100, 400), [f"sentence {n} " + "and more words " * 12 for n in range(8)]).legend
    assert many.shape[0] > 2 * few.shape[0] and many.shape[1] == few.shape[1] == 400
    for colour in COLOURS[:2]:
        assert (few == colour).all(-1).sum() > 100
    assert all((many == colour).all(-1).any() for colour in COLOURS)


def test_a_written_overlay_keeps_its_times_and_its_pictures(tmp_path):
    pictures = [np.full((32, 48, 3), 10 * t, np.uint8) for t in range(6)]
    times = [0.0, 0.04, 0.1, 0.5, 0.52, 1.0]
    write_overlay(tmp_path / "overlay.mp4", zip(times, pictures, strict=True))
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [round(frame.time, 3) for frame in frames] == times
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - picture).mean() < 4


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("12:30:05.mp4", "http:/x.mp4", "a:b/c%03d.mp4", "-x.mp4"):
        write_overlay(Path(name), [(0.0, np.zeros((32, 48, 3), np.uint8))])
        assert Path(name).stat().st_size and list(tmp_path.rglob(Path(name).name))


def test_nothing_half_written_under_the_final_name(tmp_path):
    def pictures():
        yield 0.0, np.zeros((32, 48, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_overlay(tmp_path / "overlay.mp4", pictures())
    assert list(tmp_path.iterdir()) == []
