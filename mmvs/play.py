"""A local web page to ask a model about a video: `mmvs play`."""

from __future__ import annotations

import html
import os
import signal
import tempfile
import threading
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from mmvs.config import EMBEDDED, MovingShapes
from mmvs.data import geometry
from mmvs.data.words import EMPTY_WORDS, encode, readable_pieces
from mmvs.model.coarse import CoarseMask
from mmvs.model.colour_wheel import ColourWheel
from mmvs.segmenter import Answer, Segmenter
from mmvs.segmenter.overlay import Overlay, overlay_file, write_overlay
from mmvs.segmenter.submission import grey_png
from mmvs.shapes.clip import draw_clip, render
from mmvs.video.stream import open_video

HOST = "127.0.0.1"
MISSING = 'the playground needs gradio: pip install "mmvs[play]"'
EXAMPLE = 7  # a test clip of the embedded data set
WIDEST = 960  # pixels of a picture on the page
SMALLEST = 320  # so that 64 x 64 does not blur
STYLE = """
.gradio-container {max-width: 1180px !important; margin: auto}
progress {width: 100%; height: .6em; accent-color: #0072b2}
"""


class Shown(NamedTuple):
    """What the page shows after a frame; None leaves a picture as it is."""

    overlay: np.ndarray  # (H', W', 3) uint8, with a legend
    flow: np.ndarray  # (h', w', 3) uint8
    coarse: np.ndarray | None  # (h', w', 3) uint8; None: the network has no coarse mask
    attention: np.ndarray | None  # (h', w', 3) uint8, of a word of the first sentence; None likewise
    status: str  # HTML
    video: str | None  # overlay.mp4, at the end
    masks: str | None  # masks.zip, at the end


def example(folder: Path) -> tuple[Path, list[str]]:
    """Write a clip of moving shapes, and say what can be asked of it."""
    clip = draw_clip(MovingShapes(), "test", EXAMPLE)
    frames = render(MovingShapes(), "test", EXAMPLE).frames
    path = folder / "moving_shapes.mp4"
    write_overlay(path, ((t / 8, frame) for t, frame in enumerate(frames)))
    return path, list(dict.fromkeys(sentence.text for sentence in clip.sentences))[:5]


def answer(video: str | None, text: str | None, model: str, folder: Path) -> Iterator[Shown]:
    """Segment a video, and yield what to show after every frame.

    video   a file
    text    a sentence a line
    model   what Segmenter.from_run takes; "" for the embedded one
    folder  gets a folder with overlay.mp4 and masks.zip

    Raises ValueError and OSError with what to do, on a video, a sentence or a model that cannot be used.
    """
    sentences = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if not sentences:
        raise ValueError("No sentence: type which object to segment, one sentence a line.")
    if not video:
        raise ValueError("No video: drop one, or choose a file.")
    source = open_video(video)
    segmenter = _load(model.strip() or EMBEDDED)
    warnings = segmenter.warning_of_words(sentences), segmenter.warning_of_video(source.size)
    note = "".join(f"<p>{html.escape(warning)}</p>" for warning in warnings if warning)
    draw = Overlay(source.size, sentences, source.pixel_aspect)
    wheel, out = ColourWheel(), Path(tempfile.mkdtemp(dir=folder))
    film, masks = out / "overlay.mp4", out / "masks.zip"
    ids, real = encode(segmenter.tokenizer, sentences[:1], segmenter.experiment.model.language.max_words)
    pieces = readable_pieces(segmenter.tokenizer, ids[0, : int(real.sum())].tolist())
    with _first_stage(segmenter, len(sentences)) as stage:
        answers = segmenter.segment(source, sentences, batch=max(4, len(sentences)))
    shown = None
    with closing(answers), overlay_file(film) as add, zipfile.ZipFile(masks, "w") as archive:
        for count, one in enumerate(answers, 1):
            picture = draw(one.frame, one.masks)
            add(one.time, picture)
            for n, mask in enumerate(one.masks, 1):
                archive.writestr(f"{n}/{one.index:06d}.png", grey_png(mask))
            coarse, attention = stage.popleft() if stage else (None, None)
            shown = Shown(
                _fit(picture),
                _fit(_flow(one, wheel)),
                None if coarse is None else _fit(_heat(coarse, one)),
                None if attention is None else _attention(attention[0], pieces, one),
                _progress(count, source.count) + note,
                None,
                None,
            )
            yield shown
    if shown is not None:
        damage = f"<p>{html.escape(source.damage)}</p>" if source.damage else ""
        ready = f"<b>{count} frames are ready</b>" + note + damage
        yield shown._replace(status=ready, video=str(film), masks=str(masks))


def page(folder: Path, video: str | None = None, model: str = EMBEDDED) -> Any:
    """The page, as gradio's Blocks; ValueError where gradio is missing.

    folder  for all that is uploaded and made
    video   what it starts with; None: a clip of moving shapes
    """
    gr = _gradio(folder)
    clip, sentences = (video, []) if video else example(folder)

    def run(video: str | None, text: str, model: str) -> Iterator[Any]:
        try:
            for shown in answer(video, text, model, folder):
                files = [gr.DownloadButton(value=f, interactive=bool(f)) for f in (shown.video, shown.masks)]
                yield [*shown[:5], *files]
        except (ValueError, OSError) as error:
            raise gr.Error(html.escape(str(error)), duration=10, print_exception=False) from None

    with gr.Blocks(title="mmvs playground", analytics_enabled=False) as blocks:
        gr.Markdown("# Ask a video\nSay which object you mean: its mask comes frame by frame.")
        with gr.Row():
            with gr.Column(scale=2):
                film = gr.Video(str(clip), label="Video", sources=["upload"], height=260)
                text = gr.Textbox(sentences[0] if sentences else "", label="Sentences, one a line", lines=3)
                if sentences:
                    gr.Examples([[one] for one in sentences], text, label="Sentences to try", api_name=False)
                button = gr.Button("Segment", variant="primary")
                with gr.Accordion("Model", open=False):
                    where = gr.Textbox(model, label="A run's folder, checkpoint, saved model, or hub id")
            with gr.Column(scale=3):
                status = gr.HTML("Press Segment.")
                overlay = gr.Image(label="Masks", height=420, buttons=[], interactive=False)
                small = {"height": 220, "buttons": [], "interactive": False}
                with gr.Row():
                    flow = gr.Image(label="Flow", **small)
                    coarse = gr.Image(label="Coarse mask", **small)
                    attention = gr.Image(label="Attention", **small)
                with gr.Row():
                    video_file = gr.DownloadButton("Overlay (mp4)", interactive=False)
                    mask_file = gr.DownloadButton("Masks (zip)", interactive=False)
        button.click(
            run,
            [film, text, where],
            [overlay, flow, coarse, attention, status, video_file, mask_file],
            api_name="segment",
            show_progress="hidden",
        )
    return blocks


def launch(blocks: Any, port: int | None = None, browser: bool = False) -> str:
    """Serve a page on this machine alone, and return its address; OSError where the port is taken."""
    gr = import_module("gradio")
    theme = gr.themes.Soft(  # fonts of the machine: nothing is loaded from elsewhere
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    _, address, _ = blocks.queue().launch(
        server_name=HOST, server_port=port, share=False, inbrowser=browser, prevent_thread_lock=True,
        quiet=True, show_error=True, ssr_mode=False, footer_links=[], theme=theme, css=STYLE,
    )  # fmt: skip
    return address


def play(
    video: str | None = None, model: str = EMBEDDED, port: int | None = None, browser: bool = True
) -> None:
    """Serve the playground until Ctrl-C; what it wrote is gone then.

    Raises ValueError where gradio is missing or `video` cannot be read, OSError where the port is taken.
    """
    if video:
        open_video(video)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="mmvs-play-", ignore_cleanup_errors=True) as folder:
        blocks = page(Path(folder), video, model)
        try:
            print(f"playground: {launch(blocks, port, browser)} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            print("\nthe playground has ended; its temporary files are gone", flush=True)
        finally:
            blocks.close(verbose=False)


def _gradio(folder: Path) -> Any:
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder)}
    try:
        return import_module("gradio")
    except ImportError:
        raise ValueError(MISSING) from None


@lru_cache(maxsize=1)
def _load(model: str) -> Segmenter:
    return Segmenter.from_run(model)


@contextmanager
def _first_stage(segmenter: Segmenter, count: int) -> Iterator[deque]:
    """Collects M0 (N, h, w) and attention (N, L, h', w') of every frame of the job that begins in the block.

    The job works on a copy of the network, which keeps the hook; the network itself loses it again.
    """
    collected: deque = deque()
    stage = getattr(segmenter.network, "coarse", None)
    if not isinstance(stage, CoarseMask):
        yield collected
        return

    def keep(_: Any, __: Any, out: Any) -> None:
        coarse = torch.sigmoid(out.logits[:, 0].float()).cpu().split(count)
        collected.extend(zip(coarse, out.attention.float().cpu().split(count), strict=True))

    hook = stage.register_forward_hook(keep)
    try:
        yield collected
    finally:
        hook.remove()


def _flow(one: Answer, wheel: ColourWheel) -> np.ndarray:
    flow = geometry.restore(one.flow, one.frame.shape[:2])
    return wheel(flow[None])[0].permute(1, 2, 0).numpy()


def _heat(coarse: torch.Tensor, one: Answer) -> np.ndarray:
    """The largest of all sentences, in the colours of the reports' coarse masks."""
    canvas = F.interpolate(coarse[None], size=one.canvas.shape[-2:], mode="bilinear")[0]
    largest = geometry.restore(canvas, one.frame.shape[:2]).amax(0)
    grey = (255 * largest).round().byte().numpy()
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)


def _attention(maps: torch.Tensor, pieces: list[str], one: Answer) -> np.ndarray:
    """Over the frame, which cells attend to the content word that the mask's cells attend to most.

    maps    (L, h, w) of the first sentence, whose mask that is
    pieces  L words
    """
    inside = F.adaptive_avg_pool2d(one.canvas[None, :1], maps.shape[-2:])[0]
    shares = (maps[: len(pieces)] * inside).sum((1, 2))
    content = [n for n, word in enumerate(pieces[1:-1], 1) if word not in EMPTY_WORDS] or [0]
    word = max(content, key=lambda n: float(shares[n]))
    canvas = F.interpolate(
        maps[None, word, None] / maps[word].max(), size=one.canvas.shape[-2:], mode="bilinear"
    )
    grey = (255 * geometry.restore(canvas[0], one.frame.shape[:2])[0]).clamp(0, 255).byte().numpy()
    heat = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    picture = _fit(cv2.addWeighted(heat, 0.6, np.ascontiguousarray(one.frame), 0.4, 0))
    scale = picture.shape[1] / 400
    place = (round(8 * scale), picture.shape[0] - round(10 * scale))
    for colour, width in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        thick = max(1, round(width * scale))
        cv2.putText(picture, pieces[word], place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)
    return picture


def _fit(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = min(1.0, WIDEST / width) if width > SMALLEST else max(1, SMALLEST // width)
    size = (round(width * scale), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)


def _progress(count: int, total: int | None) -> str:
    of, value = (f" of {total}", f'value="{count}" max="{total}"') if total else ("", "")
    return f"<b>Frame {count}{of}</b><progress {value}></progress>"
