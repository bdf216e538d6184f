"""The clip and the animation at the top of README: python docs/media/make.py

The clip is test clip 4 of moving shapes, which the embedded model was not trained on. It was chosen: its
objects look alike, and the model answers all three sentences. Where shapes.mp4 is there, it is kept.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmvs.config import EMBEDDED
from mmvs.segmenter import Segmenter
from mmvs.shapes.clip import render
from mmvs.video.files import write_video

HERE = Path(__file__).parent
CLIP = 4
SENTENCES = ["the circle that moves to the right", "the yellow circle falling", "the circle going leftwards"]
SCALE = 5  # a pixel of the clip's 64 x 64 becomes a square of as many
CAPTION, FONT = 36, 17  # pixels
OUTSIDE, OUTLINE = 0.5, 3  # brightness of what is not in the mask; width of its outline
SHOWN, LAST = 160, 900  # milliseconds of a frame, and of the last one of a sentence
TONES = 32  # of all frames together: 48 take a quarter more


def main() -> None:
    """Write what is missing of shapes.mp4, then shapes.gif."""
    segmenter = Segmenter.from_run(EMBEDDED)
    clip = HERE / "shapes.mp4"
    if not clip.exists():
        settings = segmenter.experiment.data.moving_shapes
        write_video(clip, render(settings, "test", CLIP).frames, settings.crf)
    answers = list(segmenter.segment(clip, SENTENCES))
    pictures = [
        picture(answer.frame, answer.masks[number], sentence)
        for number, sentence in enumerate(SENTENCES)
        for answer in answers
    ]
    strip = Image.fromarray(np.concatenate([np.asarray(one) for one in pictures[::4]]))
    palette = strip.quantize(TONES, method=Image.Quantize.MAXCOVERAGE)
    frames = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    durations = ([SHOWN] * (len(answers) - 1) + [LAST]) * len(SENTENCES)
    more = {"append_images": frames[1:], "duration": durations, "loop": 0, "optimize": True}
    frames[0].save(HERE / "shapes.gif", save_all=True, **more)


def picture(frame: np.ndarray, mask: np.ndarray, sentence: str) -> Image.Image:
    """A frame (H, W, 3) uint8, dark outside its mask (H, W) bool, below the sentence."""
    painted = np.where(mask[..., None], frame, OUTSIDE * frame).astype(np.uint8)
    painted, large = (part.repeat(SCALE, 0).repeat(SCALE, 1) for part in (painted, mask.astype(np.uint8)))
    edges, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(painted, edges, -1, (255, 255, 255), OUTLINE)
    height, width = mask.shape[0] * SCALE, mask.shape[1] * SCALE
    canvas = Image.new("RGB", (width, CAPTION + height), (24, 24, 24))
    canvas.paste(Image.fromarray(painted), (0, CAPTION))
    pen = ImageDraw.Draw(canvas)
    pen.text((width / 2, CAPTION / 2), sentence, "white", ImageFont.load_default(FONT), "mm")
    return canvas


if __name__ == "__main__":
    main()
