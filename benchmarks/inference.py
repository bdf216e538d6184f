"""A video through a network, plainly and with shared work: `python -m benchmarks.inference`.

Both ways get the same weights (random: they do not matter), video, flow and sentences.

    plain   every frame's window through the whole network for every sentence: how published code evaluates;
            the published network as written down in benchmarks.published_plain
    ours    mmvs.segmenter.streaming, of a network that mmvs.model.inference made ready

The plain way is timed on a sample of the frames: on a CPU all of them would take long. Each part is timed
alone too, for the floor: every frame observed once, every sentence read once and decided once a frame.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

from benchmarks.published_plain import Whole
from mmvs.config import Experiment, Multimodal
from mmvs.data.geometry import valid_area
from mmvs.model.inference import ready_for_inference
from mmvs.model.network import Network
from mmvs.processes import device
from mmvs.published.network import PublishedNetwork
from mmvs.schema import Batch
from mmvs.segmenter.intake import intake
from mmvs.segmenter.streaming import Picture, Streaming
from mmvs.video.files import window
from mmvs.video.stream import open_video

Plain = Callable[[Batch], Tensor]  # one window and one sentence → probability (1, H, W)
DEVICE = device()
WORDS = 15  # of a sentence, [CLS] and [SEP] included
SIZE = (240, 320)  # of the video: height, width


def full_size(given: argparse.Namespace) -> tuple[nn.Module, Plain]:
    """The network of config.Model's defaults: two ResNet-50, BERT-base, 256 wide; random weights."""
    with tempfile.TemporaryDirectory() as folder:
        BertConfig().save_pretrained(folder)
        model = Multimodal(
            time=given.time,
            appearance_backbone={"weights": None},
            motion_backbone={"weights": None, "name": given.motion, "shrink": given.shrink},
            fusion={"convolution": given.fusion},
            language={"name": str(Path(folder) / "config.json")},
        )
        network = Network(model, BertConfig().vocab_size).eval().to(DEVICE)
    return network, lambda batch: network(batch).probability()


def published(_: argparse.Namespace) -> tuple[nn.Module, Plain]:
    """The network of the authors' code: ResNet-101, ResNet-34, BERT-base."""
    whole, network = Whole().eval().to(DEVICE), PublishedNetwork().eval().to(DEVICE)
    network.load_released(whole.state_dict())

    def plain(batch: Batch) -> Tensor:
        length, last = network.max_words - batch.words.shape[1], batch.target
        order = [*(t for t in range(batch.frames.shape[1]) if t != last), last]
        images = (x[order][None] for x in network.images(batch.frames[0], batch.flow[0], batch.valid))
        words, mask = F.pad(batch.words, (0, length)), F.pad(batch.words_mask.long(), (0, length))
        return whole(*images, words, mask)[0][:, 0].sigmoid()

    return network, plain


def video(frames: int) -> np.ndarray:
    """A texture that drifts, (F, H, W, 3) uint8."""
    coarse = np.random.default_rng(0).integers(0, 255, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([np.roll(texture, (t, 2 * t), axis=(0, 1)) for t in range(frames)])


def batch_of(pictures: list[Picture], target: int, size: int, words: Tensor, mask: Tensor) -> Batch:
    """One frame's window and one sentence, as evaluation has them."""
    indices = window(target, size, 1, len(pictures))
    frames, flow = (torch.stack(part)[None] for part in zip(*(pictures[i] for i in indices), strict=True))
    clip = torch.zeros(len(words), dtype=torch.long, device=words.device)
    frames, flow, valid = (
        x.to(words.device) for x in (frames, flow, valid_area(frames.shape[-1], SIZE)[None])
    )
    return Batch(frames, flow, torch.empty(0), valid, words, mask, clip, size // 2, [], [])


def seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of some calls, after one that warms up."""
    durations = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        durations.append(time.perf_counter() - start)
    return min(durations[1:])


def gigaflop(action: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops() / 1e9


class Compared:
    """One network and its video."""

    def __init__(
        self,
        network: nn.Module,
        plain: Plain,
        pictures: list[Picture],
        window_size: int,
        sample: int,
        batch: int,
    ):
        self.whole, self.pictures, self.size = plain, pictures, window_size
        self.quick, self.batch = ready_for_inference(network), batch
        self.targets = np.linspace(0, len(pictures) - 1, min(sample, len(pictures))).astype(int).tolist()
        generator = torch.Generator().manual_seed(0)
        self.words = torch.randint(1000, 20_000, (4, WORDS), generator=generator).to(DEVICE)
        self.mask = torch.ones_like(self.words, dtype=torch.bool)
        self.valid = valid_area(pictures[0].frame.shape[-1], SIZE).to(DEVICE)

    def plain(self, sentences: int) -> tuple[float, dict[int, Tensor]]:
        """Seconds a frame, and the sampled frames' probabilities (N, H, W)."""
        answers, start = {}, None
        with torch.inference_mode():
            for target in [self.targets[0], *self.targets]:  # the first warms up
                windows = (self.one(target, n) for n in range(sentences))
                answers[target] = torch.cat([self.whole(batch).cpu() for batch in windows])
                start = start or time.perf_counter()
        return (time.perf_counter() - start) / len(self.targets), answers

    def one(self, target: int, sentence: int) -> Batch:
        """A frame's window and a sentence."""
        said = slice(sentence, sentence + 1)
        return batch_of(self.pictures, target, self.size, self.words[said], self.mask[said])

    def ours(self, sentences: int, precision: torch.dtype) -> tuple[float, list[Tensor]]:
        """Seconds a frame of the whole video, sentences read included, and all probabilities."""
        start = time.perf_counter()
        with torch.inference_mode():
            said = self.quick.read(self.words[:sentences], self.mask[:sentences])
        streaming = Streaming(self.quick, said, self.size, 1, self.batch, precision, self.valid)
        answers = list(streaming(self.pictures))
        return (time.perf_counter() - start) / len(self.pictures), answers

    def parts(self, precision: torch.dtype) -> pd.DataFrame:
        """Seconds and GFLOP of each part alone, and of the plain way beside them."""
        streaming = Streaming(self.quick, None, self.size, 1, 1, precision, self.valid)
        one = self.pictures[:1]
        with torch.inference_mode():
            streaming.sentences = self.quick.read(self.words[:1], self.mask[:1])
            observe = (
                "observe a frame, and relate it to a sentence" if streaming.relates else "observe a frame"
            )
            actions = {
                observe: lambda: streaming._observe(one, 0),
                "read a sentence": lambda: self.quick.read(self.words[:1], self.mask[:1]),
                "decide a frame for a sentence": lambda: streaming._decide(range(1), 1),
            }
            if precision == torch.float32:
                actions["all of it, plainly"] = lambda: self.whole(self.one(len(self.pictures) // 2, 0))
            rows = {name: [seconds(action), gigaflop(action)] for name, action in actions.items()}
        table = pd.DataFrame(rows, index=["seconds", "GFLOP"]).T
        table["TFLOP/s"] = table["GFLOP"] / table["seconds"] / 1e3
        return table


def compare(name: str, given: argparse.Namespace, pictures: list[Picture]) -> None:
    """Print the tables of one network."""
    network, plain = NETWORKS[name](given)
    them = Compared(network, plain, pictures, 3, given.sample, given.batch)
    precisions = [torch.float32, *(getattr(torch, name) for name in given.precision)]
    weights = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"\n{name}: {weights:.0f} M weights, {len(pictures)} frames, {len(them.targets)} of them plainly")
    parts = {precision: them.parts(precision) for precision in precisions}
    rows = []
    for sentences in given.sentences:
        once, expected = them.plain(sentences)
        rows.append({"sentences": sentences, "way": "plain", "s/frame": once})
        for precision, part in parts.items():
            taken, answers = them.ours(sentences, precision)
            observe, read, decide = part["seconds"].iloc[:3]
            floor = observe + sentences * (read / len(pictures) + decide)
            apart = [(answers[t] - expected[t]).abs().max().item() for t in them.targets]
            rows.append(
                {
                    "sentences": sentences,
                    "way": f"ours, {str(precision).removeprefix('torch.')}",
                    "s/frame": taken,
                    "times faster": once / taken,
                    "floor": floor,
                    "of it": taken / floor,
                    "largest difference": max(apart),
                    "GFLOP/frame": gigaflop(lambda n=sentences, p=precision: them.ours(n, p)) / len(pictures),
                }
            )
    print(
        pd.DataFrame(rows).set_index(["sentences", "way"]).to_string(float_format="{:.3g}".format, na_rep="")
    )
    for precision, part in parts.items():
        print(f"\neach part alone, {precision}\n{part.to_string(float_format='{:.3g}'.format)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["full_size", "published"], choices=NETWORKS)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--sample", type=int, default=4, help="frames that the plain way is timed on")
    parser.add_argument("--sentences", type=int, nargs="+", default=[1, 4], choices=range(1, 5))
    parser.add_argument("--size", type=int, default=320, help="of the canvas, pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", nargs="*", default=["bfloat16"], choices=["bfloat16", "float16"])
    parser.add_argument("--time", default="multiplied", choices=["multiplied", "modulated"])
    parser.add_argument("--motion", default="resnet50", help="backbone of motion, of full_size")
    parser.add_argument("--shrink", type=int, default=1, choices=[1, 2], help="of motion_backbone")
    parser.add_argument("--fusion", default="full", choices=["full", "separable"], help="convolution")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    source, settings = open_video(video(given.frames)), Experiment(data={"size": given.size})
    start = time.perf_counter()
    pictures = [shown.picture for shown in intake(source, settings)]
    each = (time.perf_counter() - start) / len(pictures)
    print(f"{given.threads} threads; flow and canvas, in the background: {each:.3f} s/frame")
    for name in given.network:
        compare(name, given, pictures)


NETWORKS = {"full_size": full_size, "published": published}

if __name__ == "__main__":
    main()
