"""The playground: its callbacks, its server, and a click in a browser."""

import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from mmvs import play
from mmvs.segmenter.segmenter import Answer, Segmenter
from mmvs.video.stream import open_video

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("play")


@pytest.fixture(scope="module")
def clip(folder):
    return play.example(folder)


@pytest.fixture(scope="module", autouse=True)
def small_model(tmp_path_factory):
    segmenter = Segmenter(tiny.run(tmp_path_factory.mktemp("run")))
    load = play._load
    play._load = lambda name: segmenter if name == "tiny" else load(name)
    yield segmenter
    play._load = load


@pytest.fixture(scope="module")
def address(folder, clip):
    pytest.importorskip("gradio", reason="gradio is not installed: mmvs[play]")
    blocks = play.page(folder, model="tiny")
    yield play.launch(blocks)
    blocks.close(verbose=False)


def test_every_frame_is_shown_then_the_files_are_whole(clip, folder, small_model):
    video, _ = clip
    shown = list(play.answer(str(video), "the red circle\n\na big square", "tiny", folder))
    frames = open_video(video).count
    assert len(shown) == frames + 1 and f"Frame 1 of {frames}" in shown[0].status
    assert all(one.video is None for one in shown[:-1])
    assert open_video(shown[-1].video).count == frames
    with zipfile.ZipFile(shown[-1].masks) as archive:
        assert len(archive.namelist()) == 2 * frames and "2/000000.png" in archive.namelist()
    assert shown[0].coarse.shape == shown[0].flow.shape == shown[0].attention.shape == (320, 320, 3)
    assert np.ptp(shown[0].flow) > 0, "flow of things that move has colours"
    assert not small_model.network.coarse._forward_hooks, "the network itself is as before"


def test_coarse_masks_are_of_the_frame_and_sentence_that_are_shown(clip, folder, small_model):
    """Two sentences at once: the picture is the brighter of the two that each gives by itself."""
    video, one, other = clip[0], "the red circle", "a big square"
    both, first, second = (
        [s.coarse for s in play.answer(str(video), text, "tiny", folder)]
        for text in (f"{one}\n{other}", one, other)
    )
    grey = [[picture.astype(int).sum(2) for picture in pictures] for pictures in (both, first, second)]
    for a, b, c in zip(*grey, strict=True):
        assert np.abs(a - np.maximum(b, c)).max() <= 12  # steps of a colour map, by rounding


def test_attention_shows_the_content_word_that_the_mask_attends_to():
    """The mask is the left half; there "red" gets more than "circle", and empty words do not count."""
    canvas = torch.zeros(1, 8, 8)
    canvas[..., :4] = 1
    maps = torch.full((5, 2, 2), 0.01)
    maps[1], maps[2, :, 0], maps[3, :, 1] = 0.9, 0.5, 0.5  # the, red, circle
    frame = np.zeros((64, 64, 3), np.uint8)
    one = Answer(0, 0.0, frame, np.zeros((1, 64, 64), bool), np.zeros(1), canvas, None)
    pieces = ["[CLS]", "the", "red", "circle", "[SEP]"]
    picture = play._attention(maps, pieces, one).astype(int).sum(2)[:250]  # without the word below
    assert picture[:, :40].mean() > 2 * picture[:, -40:].mean()


@pytest.mark.parametrize(
    "video, text, model, says",
    [
        ("clip", " \n ", "tiny", "sentence"),
        (None, "the red circle", "tiny", "No video"),
        ("text", "the red circle", "tiny", "text.mp4"),
        ("clip", "the red circle", "no/such/model/here", "no/such/model/here"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(clip, folder, video, text, model, says):
    (folder / "text.mp4").write_text("no video")
    path = {"clip": str(clip[0]), "text": str(folder / "text.mp4"), None: None}[video]
    with pytest.raises((ValueError, OSError), match=says):
        list(play.answer(path, text, model, folder))


def test_unknown_words_are_told_and_nothing_typed_is_html(clip, folder):
    (*_, last) = play.answer(str(clip[0]), "the <b>zyzzyva</b>", "tiny", folder)
    assert "zyzzyva" in last.status and "<b>zyz" not in last.status


def test_without_gradio_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match=r"pip install .mmvs\[play\]"):
        play.page(tmp_path)


def test_a_client_is_served_and_the_server_outlives_bad_input(address, clip):
    client_of = pytest.importorskip("gradio_client", reason="gradio is not installed: mmvs[play]")
    assert address.startswith("http://127.0.0.1:")
    client = client_of.Client(address, verbose=False)
    film = client_of.handle_file(str(clip[0]))
    with pytest.raises(Exception, match="No sentence"):
        client.predict(film, " ", "tiny", api_name="/segment")
    overlay, flow, coarse, attention, status, video, masks = client.predict(
        film, clip[1][0], "tiny", api_name="/segment"
    )
    assert "frames are ready" in str(status)
    files = [f["value"] if isinstance(f, dict) else f for f in (video, masks)]
    assert open_video(files[0]).count == open_video(clip[0]).count and zipfile.is_zipfile(files[1])


def test_a_click_in_a_browser_brings_masks(address, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        asked = []
        tab.route("**/*", lambda route: _local_only(route, address, asked))
        tab.goto(address, wait_until="domcontentloaded")
        press = tab.get_by_role("button", name="Segment", exact=True)
        box = tab.get_by_label("Sentences, one a line")
        press.wait_for(timeout=60_000)
        sentence = box.input_value()
        box.fill("")
        press.click()
        tab.get_by_text("No sentence").first.wait_for(timeout=60_000)
        box.fill(sentence)
        press.click()
        tab.get_by_text("frames are ready").wait_for(timeout=120_000)
        tab.wait_for_timeout(1000)
        tab.screenshot(path=tmp_path / "page.png", full_page=True)
        with tab.expect_download() as download:
            tab.get_by_text("Masks (zip)").click()
        assert zipfile.is_zipfile(Path(download.value.path()))
        assert tab.locator("img[src*='/file=']").count() >= 4, "overlay, flow, coarse mask, attention"
        print("asked elsewhere:", asked)
        browser.close()


def _local_only(route, address, asked):
    if route.request.url.startswith((address, "data:", "blob:")):
        route.continue_()
    else:
        asked.append(route.request.url)
        route.abort()
