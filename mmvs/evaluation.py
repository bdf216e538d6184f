"""A trained Network over data sets → metrics.json, a per-sample table, examples for figures.

Command line: `python -m mmvs.evaluation params/<run>.yaml [--rung B+M --seed 1]`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from mmvs.config import Experiment
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.catalogue import open_dataset, open_flow
from mmvs.data.clips import Clips, collate
from mmvs.data.geometry import restore
from mmvs.flow import estimator
from mmvs.metrics import ScoresByKind, foreground_score
from mmvs.provenance import as_json, provenance, write_whole
from mmvs.schema import Batch, Clip, Example
from mmvs.training import Trained, arguments, fit

COLUMNS = ["data_set", "index", "video_id", "frame", "instance_id", "kind", "sentence",
           "iou", "coarse_iou", "score", "selected"]  # fmt: skip


@dataclass
class Answer:
    """What the model answered to one sample, at the video's resolution."""

    index: int  # position in the data set
    probability: np.ndarray  # (H, W) float32
    coarse: np.ndarray  # (H, W) float32, probability of M0
    attention: np.ndarray  # (L, h, w) float32
    words: list[str]  # L tokens


class Exchanged(Dataset):
    """Clips whose sentences were exchanged between videos: what a model scores that does not read."""

    def __init__(self, clips: Clips, seed: int = 0):
        self.clips = clips
        samples = clips.samples
        self.sentences = [samples[i].sentence for i in range(len(samples))]
        order = np.random.default_rng(seed).permutation(len(samples))
        videos = [samples[i].video_id for i in range(len(samples))]
        for at in range(len(order)):  # an exchange within a video would keep sentences that fit
            while videos[order[at]] == videos[at] and len(set(videos)) > 1:
                other = int(np.random.default_rng([seed, at]).integers(len(order)))
                while videos[order[other]] == videos[at] or videos[order[at]] == videos[other]:
                    other = (other + 1) % len(order)
                order[at], order[other] = order[other], order[at]
        self.order = order

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> Clip:
        clip = self.clips[item]
        sentences = [self.sentences[self.order[i]] for i in clip.samples]
        return Clip(**{**vars(clip), "sentences": sentences})


def evaluate(trained: Trained, progress: bool = True, exchanged: bool = True) -> dict[str, Any]:
    """Score a trained run on its data sets, at the videos' resolution; what is scored already is loaded.

    exchanged  also score with sentences exchanged between videos, as "<data set>-shuffled"

    Writes `metrics.json` and `samples.csv` into the run's folder and returns the former's content.
    """
    experiment = trained.experiment
    file = experiment.folder / "metrics.json"
    wanted = [(name, False) for name in experiment.data.evaluate_on]
    if exchanged:
        wanted.append((experiment.data.evaluate_on[0], True))
    labels = [f"{name}-shuffled" if shuffled else name for name, shuffled in wanted]
    if (done := _finished(file, experiment)) and all(label in done["scores"] for label in labels):
        return done

    start, scores, rows = time.monotonic(), {}, []
    for (name, shuffled), label in zip(wanted, labels, strict=True):
        scores[label], table = _score(trained, name, shuffled, progress)
        rows += [] if shuffled else table
    names = dict.fromkeys([experiment.data.train_on, *experiment.data.evaluate_on])
    used = {name: open_dataset(name, experiment.data) for name in names}
    lists = {name: samples.samples_from for name, samples in used.items() if samples.samples_from}
    seconds = {"training": trained.seconds, "evaluation": time.monotonic() - start}
    device = str(next(trained.network.parameters()).device)
    parent = experiment.run.split("/")[0]
    command = f"papermill notebooks/03_train.ipynb reports/{parent}/03_train.ipynb -f params/{parent}.yaml"
    if "/ladder/" in experiment.run:
        rung = experiment.run.split("/")[-2]
        command = f"python -m mmvs.evaluation params/{parent}.yaml --rung {rung} --seed {experiment.seed}"
    result = {
        "run": experiment.run,
        "scores": scores,
        "steps": trained.steps,
        "parameters": sum(p.numel() for p in trained.network.parameters()),
        "provenance": provenance(
            experiment,
            device,
            seconds,
            command,
            data_fingerprint={name: _data_fingerprint(samples) for name, samples in used.items()},
            **({"samples_from": lists} if lists else {}),  # scores of J-HMDB depend on it
            flow_fingerprint=estimator(experiment.flow).fingerprint,
        ),
    }
    _write_table(experiment.folder / "samples.csv", rows)
    write_whole(file, as_json(result))
    return result


def ladder(
    experiment: Experiment,
    rungs: list[str],
    seeds: list[int],
    train_missing: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Every rung of the ablation ladder with every seed → `ladder.json`: {rung: {seed: scores}}.

    Finished cells are read, missing ones trained (or left out, with `train_missing` False): a broken
    ladder goes on where it stopped.
    """
    cells: dict[str, Any] = {}
    for rung in rungs:
        for seed in seeds:
            cell = experiment.on_rung(rung, seed)
            done = _finished(cell.folder / "metrics.json", cell)
            if done is None and train_missing:
                done = evaluate(fit(cell, progress), progress, exchanged=False)
            if done is not None:
                cells.setdefault(rung, {})[str(seed)] = done["scores"]
    write_whole(experiment.folder / "ladder.json", as_json(cells))
    return cells


def answers(trained: Trained, clips: Dataset, progress: bool = False) -> Iterator[tuple[Batch, list[Answer]]]:
    """Run the model over clips; yields each batch with its N answers. A broken file stops it here."""
    experiment = trained.experiment
    device = next(trained.network.parameters()).device
    loader = DataLoader(
        clips, experiment.evaluation.batch, num_workers=experiment.data.workers,
        collate_fn=collate(trained.tokenizer, experiment.model.language.max_words),
    )  # fmt: skip
    for batch in tqdm(loader, desc="evaluating", unit="batch", disable=not progress, leave=False):
        with torch.inference_mode():
            prediction = trained.network(_moved(batch, device))
        probability = prediction.probability().cpu()
        coarse = torch.sigmoid(prediction.coarse.float()).cpu()
        made = []
        for n, index in enumerate(batch.samples):
            original = batch.original_sizes[int(batch.clip_of_sentence[n])]
            length = int(batch.words_mask[n].sum())
            made.append(
                Answer(
                    index=index,
                    probability=restore(probability[n : n + 1], original)[0].numpy(),
                    coarse=restore(coarse[n : n + 1], original)[0].numpy(),
                    attention=prediction.attention[n, :length].float().cpu().numpy(),
                    words=trained.tokenizer.convert_ids_to_tokens(batch.words[n, :length].tolist()),
                )
            )
        yield batch, made


def examples(trained: Trained, name: str, indices: list[int]) -> list[Example]:
    """Samples of a data set with everything a figure shows of them, in the order of `indices`."""
    samples = open_dataset(name, trained.experiment.data)
    flow = open_flow(name, trained.experiment)
    clips = Clips(samples, flow, trained.experiment.data, only=indices)
    found = {}
    for _, made in answers(trained, clips):
        for answer in made:
            sample, truth = samples[answer.index], samples.mask(answer.index)
            mask = binarised(answer.probability, trained.experiment)
            video = samples.video_path(sample.video_id)
            found[answer.index] = Example(
                video_id=sample.video_id,
                frame_index=sample.frame,
                sentence=sample.sentence,
                kind=sample.kind,
                words=answer.words,
                frame=samples.window(answer.index, 1)[1][0],
                flow=flow.read(sample.video_id, video, [sample.frame])[0],
                attention=answer.attention,
                coarse=answer.coarse,
                probability=answer.probability,
                mask=mask,
                truth=truth,
                iou=intersection_over_union(mask, truth),
            )
    return [found[i] for i in indices]


def track(trained: Trained, name: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Ask a sample's sentence of every frame of its clip.

    Returns frames (F, H, W, 3) uint8 and foreground probabilities (F, H, W) float32.
    """
    samples = open_dataset(name, trained.experiment.data)
    whole = _EveryFrame(Clips(samples, open_flow(name, trained.experiment), trained.experiment.data), index)
    probability = [answer.probability for _, made in answers(trained, whole) for answer in made]
    return whole.pictures, np.stack(probability)


class _EveryFrame(Dataset):
    """The clip around every frame of a sample's video, with the sample's sentence."""

    def __init__(self, clips: Clips, index: int):
        self.clips, self.index = clips, index
        self.count = clips.samples.frame_count(clips.samples[index].video_id)
        sample = clips.samples[index]
        # a window of twice the video, clamped: its frames 0 ... count - 1, whatever frame the sample is at
        indices, pictures = clips.samples.window(index, 2 * self.count + 1)
        self.pictures = pictures[[indices.index(i) for i in range(self.count)]]
        self.sample = sample

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, frame: int) -> Clip:
        return self.clips.at(self.index, frame, self.pictures)


def binarised(probability: np.ndarray, experiment: Experiment) -> np.ndarray:
    """The mask of a probability map: above the threshold, or above that share of the map's maximum."""
    settings = experiment.evaluation
    return probability > settings.threshold * (probability.max() if settings.relative else 1.0)


def intersection_over_union(mask: np.ndarray, truth: np.ndarray) -> float:
    """(I + 1e-6) / (U + 1e-6) of two bool masks (H, W)."""
    return float(((mask & truth).sum() + 1e-6) / ((mask | truth).sum() + 1e-6))


def _score(
    trained: Trained, name: str, shuffled: bool, progress: bool
) -> tuple[dict[str, Any], list[list[Any]]]:
    samples = open_dataset(name, trained.experiment.data)
    clips: Dataset = Clips(samples, open_flow(name, trained.experiment), trained.experiment.data)
    scores, rows = ScoresByKind(), []
    for _, made in answers(trained, Exchanged(clips) if shuffled else clips, progress):
        for answer in made:
            sample, masks = samples[answer.index], samples.masks_in_frame(answer.index)
            mask, truth = binarised(answer.probability, trained.experiment), masks[sample.instance_id]
            score = foreground_score(answer.probability, mask)
            means = {i: float(answer.probability[m].mean()) for i, m in masks.items()}
            coarse = intersection_over_union(answer.coarse > trained.experiment.evaluation.threshold, truth)
            scores.update(sample.kind, mask, truth, score, answer.probability, masks, sample.instance_id)
            rows.append(
                [name, answer.index, sample.video_id, sample.frame, sample.instance_id, sample.kind,
                 sample.sentence, round(intersection_over_union(mask, truth), 4), round(coarse, 4),
                 round(score, 4), int(max(means, key=means.get) == sample.instance_id)]
            )  # fmt: skip
    return scores.compute(), rows


def _data_fingerprint(samples: AnnotatedVideos) -> str:
    """12 hex digits of what is asked of which frame of which video."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr(sample).encode())
    return digest.hexdigest()[:12]


def _finished(file: Path, experiment: Experiment) -> dict[str, Any] | None:
    try:
        done = json.loads(file.read_text())
        same = done["provenance"]["fingerprint"] == experiment.fingerprint()
        scored = done["provenance"]["parameters"]["evaluation"] == experiment.evaluation.model_dump(
            mode="json"
        )
        listed = (
            done["provenance"]["parameters"]["data"].get("jhmdb_samples") == experiment.data.jhmdb_samples
        )
        return done if same and scored and listed else None
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None


def _moved(batch: Batch, device: torch.device) -> Batch:
    return Batch(**{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(batch).items()})


def _write_table(file: Path, rows: list[list[Any]]) -> None:
    partial = file.with_suffix(".partial")
    with partial.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    os.replace(partial, file)


if __name__ == "__main__":
    evaluate(fit(arguments("Score one experiment on its data sets; trains it first if need be.")))
