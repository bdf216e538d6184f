"""A trained network over data sets → metrics.json and a table of all samples; and plans of many trainings."""

from __future__ import annotations

import csv
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmvs import processes
from mmvs.answers import answers, intersection_over_union
from mmvs.config import Experiment, LadderPlan, budget
from mmvs.data import catalogue
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.catalogue import Source
from mmvs.data.clips import Backwards, Clips
from mmvs.data.expression_videos import ExpressionVideos
from mmvs.files import whole, write_json
from mmvs.flow.estimators import estimator
from mmvs.metrics import ScoresByKind, ScoresOfExpressions, binarise, foreground_score
from mmvs.provenance import provenance
from mmvs.run_folder import ExplicitMotion, Ladder, Result, RunFolder
from mmvs.schema import Clip
from mmvs.scoring import Request
from mmvs.scoring import score as score_masks
from mmvs.segmenter.submission import write_submission
from mmvs.trained import TrainedNetwork
from mmvs.training import fit

COLUMNS = "data_set index video_id frame instance_id kind sentence iou coarse_iou score selected".split()

Control = Callable[[Clips], Dataset]
Evaluation = tuple[str, str, Control | None]  # label, data set, what is done to its clips


class Exchanged(Dataset):
    """Clips whose sentences were exchanged between videos: what a model scores that does not read."""

    def __init__(self, clips: Clips, seed: int = 0):
        """seed: of the order of the videos, and so of who gets whose sentences."""
        self.clips = clips
        samples = clips.samples
        self.sentences = [samples[i].sentence for i in range(len(samples))]
        of_video: dict[str, list[int]] = {}
        for i in range(len(samples)):  # an exchange within a video would keep sentences that fit
            of_video.setdefault(samples.scene(i), []).append(i)
        groups = [list(of_video.values())[v] for v in np.random.default_rng(seed).permutation(len(of_video))]
        grouped = np.concatenate(groups)
        # Sorted by video and rolled by the largest group, no sample meets its own video, unless that one
        # holds more than half of all samples: then as few do as can be.
        self.order = np.empty(len(samples), int)
        self.order[grouped] = np.roll(grouped, -max(map(len, groups)))

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> Clip:
        clip = self.clips[item]
        sentences = [self.sentences[self.order[i]] for i in clip.samples]
        return Clip(**{**vars(clip), "sentences": sentences})


def evaluate(
    trained: TrainedNetwork, progress: bool = True, exchanged: bool = True, submissions: bool = True
) -> Result:
    """Score a trained run on its data sets, at the videos' resolution, or load the scores that it has.

    exchanged    also score with sentences exchanged between videos, as "<data set>-shuffled"; where the order
                 of motions tells, with windows that run backwards, as "<data set>-backwards"; and where every
                 sentence is trained on as well, its last mask in training, as "<data set>-copied"
    submissions  also write the masks of every frame of data sets of expressions, as their servers take them

    Of data sets of expressions whose truth is not known the masks are all that there is, and the number of
    samples stands for their scores; of others without a truth it raises DataError. Writes `metrics.json`,
    `samples.csv` and `submissions/` into the run's folder and returns the first's content. The processes of
    `torchrun` share the samples; the first of them writes, and all return the same.
    """
    with processes.together():
        return _evaluate(trained, progress, exchanged, submissions)


def _evaluate(trained: TrainedNetwork, progress: bool, exchanged: bool, submissions: bool) -> Result:
    experiment, first = trained.experiment, processes.place()[0] == 0
    folder = RunFolder.of(experiment)
    submitted = [name for name in experiment.data.evaluate_on if catalogue.has_expressions(name)]
    sources = {name: catalogue.open(name, experiment) for name in submitted if submissions}
    for name, source in sources.items() if first else ():
        write_submission(trained, source, folder.submission(name), progress)
    hidden = [name for name, source in sources.items() if not source.samples.truth_is_known]
    known = [name for name in experiment.data.evaluate_on if name not in hidden]
    evaluations: list[Evaluation] = [(name, name, None) for name in known]
    evaluations += _controls(known[0], experiment) if known and exchanged else []
    labels = [label for label, _, _ in evaluations]
    weights = trained.fingerprint()
    result = folder.result_of(experiment, weights)
    complete = result and all(label in result.scores for label in (*hidden, *labels))
    complete = complete and folder.samples.exists()  # which git does not keep: a fresh clone has none
    if all(processes.gathered([bool(complete)])):
        for name in sources.keys() - set(hidden):
            if first and not folder.submission(name).with_suffix(".json").exists():
                _score_submission(sources[name], folder.submission(name), progress)
        return result

    start, rows = time.monotonic(), []
    scores = {name: {"all": {"samples": len(sources[name].samples)}} for name in hidden}
    names = dict.fromkeys([*experiment.data.training_sets, *experiment.data.evaluate_on])
    of_submissions = {
        name: _score_submission(sources[name], folder.submission(name), progress)
        for name in sources.keys() - set(hidden)
        if first
    }
    sources = {name: sources.get(name) or catalogue.open(name, experiment) for name in names}
    for name in known:
        sources[name].samples.require_truth(f"scoring {name}")
    for label, name, control in evaluations:
        scores[label], table = _score(trained, name, sources[name], control, progress)
        if control is None:
            scores[label]["all"] |= of_submissions.get(name, {})
            rows += table
    for name in known[:1] if exchanged and first else []:
        trained_on = (sources[one].samples for one in experiment.data.training_sets)
        copies = (_score_copies(sources[name].samples, training) for training in trained_on)
        if copied := next(filter(None, copies), None):
            scores[f"{name}-copied"] = copied
    samples = {name: source.samples for name, source in sources.items()}
    results = []
    if first:
        results.append(_result(trained, scores, samples, time.monotonic() - start))
        _write_table(folder.samples, rows)
        results[0].write(folder.metrics)
    return processes.gathered(results)[0]


def _result(
    trained: TrainedNetwork, scores: dict[str, Any], samples: dict[str, AnnotatedVideos], seconds: float
) -> Result:
    """The scores with where they came from; `seconds` of the evaluation."""
    experiment = trained.experiment
    lists = {name: one.samples_from for name, one in samples.items() if one.samples_from}
    parent = experiment.run.split("/")[0]
    command = f"papermill notebooks/03_train.ipynb reports/{parent}/03_train.ipynb -f params/{parent}.yaml"
    if "/ladder/" in experiment.run:
        rung = experiment.run.split("/")[-2]
        command = f"python -m mmvs evaluate params/{parent}.yaml --rung {rung} --seed {experiment.seed}"
    if "/sweep/" in experiment.run:
        command = f"python -m mmvs evaluate params/{experiment.run}.yaml"
    if "/explicit_motion/" in experiment.run:
        system, training = experiment.run.split("/")[-3], experiment.training
        command = (
            f"python -m mmvs evaluate params/{parent}.yaml --system {system} --steps {training.steps} "
            f"--share {training.share:g} --seed {experiment.seed}"
        )
    return Result(
        run=experiment.run,
        scores=scores,
        steps=trained.steps,
        parameters=sum(p.numel() for p in trained.network.parameters()),
        provenance=provenance(
            experiment,
            str(trained.device),
            {"training": trained.seconds, "evaluation": seconds},
            command,
            data_fingerprint={name: _data_fingerprint(one) for name, one in samples.items()},
            weights=trained.fingerprint(),
            **({"samples_from": lists} if lists else {}),  # scores of J-HMDB depend on it
            **({"started_from": trained.start} if trained.start else {}),
            **({"training_processes": trained.processes} if trained.processes > 1 else {}),
            **({"skipped_batches": trained.skipped} if trained.skipped else {}),
            flow_fingerprint=estimator(experiment.flow).fingerprint,
        ),
    )


def ladder(experiment: Experiment, plan: LadderPlan, progress: bool = True) -> Ladder:
    """Every rung of the plan's ablation ladder with every seed → `ladder.json`: {rung: {seed: scores}}.

    Reads the cells that have scores, and trains the others (or leaves them out, with `train_missing` False):
    a broken ladder goes on where it stopped.
    """
    cells: Ladder = {}
    for rung, seed in product(plan.rungs, plan.seeds):
        if result := _cell(experiment.on_rung(rung, seed), plan.train_missing, progress):
            cells.setdefault(rung, {})[str(seed)] = result.scores
    write_json(RunFolder.of(experiment).ladder, cells)
    return cells


def explicit_motion(experiment: Experiment, plan: LadderPlan, progress: bool = True) -> ExplicitMotion:
    """Every system of the plan, in every budget, with every seed → `explicit_motion.json`.

    Its content is {system: {"<steps>[/<share of the videos>]": {seed: scores}}}. Cells are read, trained or
    left out as those of `ladder`; a run that `plan.compare` names serves as the cell that it is.
    """
    cells: ExplicitMotion = {}
    beside = [RunFolder(experiment.folder.parent / run) for run in plan.compare]
    for system, (steps, share), seed in product(plan.systems, plan.budgets, plan.seeds):
        cell = plan.as_system(experiment, system, steps, share, seed)
        if result := _cell(cell, plan.train_missing, progress, beside):
            of_system = cells.setdefault(system, {}).setdefault(budget(steps, share), {})
            of_system[str(seed)] = result.scores
    write_json(RunFolder.of(experiment).explicit_motion, cells)
    return cells


def _cell(
    cell: Experiment, train_missing: bool, progress: bool, beside: Sequence[RunFolder] = ()
) -> Result | None:
    """The result of one cell of a plan; of another run where that was the same training."""
    for folder in (RunFolder.of(cell), *beside):
        if folder.is_scored() and (result := folder.result_of(cell)):
            return result
    if not train_missing:
        return None
    return evaluate(fit(cell, progress), progress, exchanged=False, submissions=False)


def _controls(name: str, experiment: Experiment) -> list[Evaluation]:
    """What must cost a model its scores, if it uses what it is said to use."""
    controls: list[Evaluation] = [(f"{name}-shuffled", name, Exchanged)]
    if catalogue.tells_by_order(name):
        controls.append((f"{name}-backwards", name, Backwards))
    return controls


def _score(
    trained: TrainedNetwork, name: str, source: Source, control: Control | None, progress: bool
) -> tuple[dict[str, Any], list[list[Any]]]:
    samples = source.samples
    clips = Clips(samples, source.flow, trained.experiment.data)
    places = {index: place for place, index in enumerate(chain.from_iterable(clips.positions))}
    scores, rows = ScoresByKind(), []
    of_expressions = ScoresOfExpressions() if _has_every_frame(samples) else None
    for _, batch_answers in answers(trained, control(clips) if control else clips, progress):
        for answer in batch_answers:
            sample, masks = samples[answer.index], samples.masks_in_frame(answer.index)
            mask = binarise(answer.probability, trained.experiment.evaluation)
            truth = masks[sample.instance_id]
            score = foreground_score(answer.probability, mask)
            chosen_from = {i: masks[i] for i in samples.rivals(answer.index, masks)}
            means = {i: foreground_score(answer.probability, m) for i, m in chosen_from.items()}
            coarse = intersection_over_union(answer.coarse > trained.experiment.evaluation.threshold, truth)
            objects = chosen_from, sample.instance_id
            place = places[answer.index]
            scores.update(sample.kind, mask, truth, score, answer.probability, *objects, place)
            if of_expressions:
                of_expressions.update(samples.expression(answer.index), mask, truth, place)
            identity = [sample.video_id, sample.frame, sample.instance_id, sample.kind, sample.sentence]
            numbers = [round(value, 4) for value in (intersection_over_union(mask, truth), coarse, score)]
            selected = int(max(means, key=means.get) == sample.instance_id) if means else ""
            rows.append([name, answer.index, *identity, *numbers, selected])
    results = scores.compute()
    if of_expressions:
        results["all"] |= of_expressions.compute()
    return results, sorted(processes.gathered(rows), key=lambda row: places[row[1]])


def _score_copies(samples: AnnotatedVideos, training: AnnotatedVideos) -> dict[str, Any] | None:
    """What it scores to copy each object's last mask in the training frames to all frames; None without one.

    Of mosaics it is told in which half the object is. A floor where a part of each video is trained on.
    """
    if not {samples.scene(i) for i in range(min(1, len(samples)))} & set(training.videos):
        return None  # other videos
    last: dict[tuple[str, str], int] = {}
    for j in range(len(training)):
        key = training.scene(j), training[j].sentence
        if key not in last or training[j].frame > training[last[key]].frame:
            last[key] = j
    scores, of_expressions = ScoresByKind(), ScoresOfExpressions() if _has_every_frame(samples) else None
    masks: dict[tuple[str, str], np.ndarray] = {}
    for i, sample in enumerate(samples):
        key = samples.scene(i), sample.sentence
        if key not in last:
            return None
        if key not in masks:
            masks[key] = training.mask(last[key])
        mask, truths = samples.place(i, masks[key]), samples.masks_in_frame(i)
        truth, rivals = truths[sample.instance_id], {one: truths[one] for one in samples.rivals(i, truths)}
        if mask.shape != truth.shape:
            return None  # the two splits have videos of other sizes
        scores.update(sample.kind, mask, truth, 1.0, mask.astype(np.float32), rivals, sample.instance_id)
        if of_expressions:
            of_expressions.update(samples.expression(i), mask, truth)
    results = scores.compute()
    if of_expressions:
        results["all"] |= of_expressions.compute()
    return results


def _score_submission(source: Source, path: Path, progress: bool) -> dict[str, float]:
    """Score a submission as `mmvs score` does, and write the report beside it.

    Returns J, F and J&F as MeViS averages them; of Ref-DAVIS17 those of the DAVIS tool besides.
    """
    samples = source.samples
    assert isinstance(samples, ExpressionVideos)
    truth = samples.expressions
    request = Request(path, truth.root, samples.scored_as, truth.split, workers=1, progress=progress)
    report = score_masks(request)
    report.write_json(path.with_suffix(".json"))
    report.write_table(path.with_suffix(".csv"))
    details, names = report.details, ("J", "F", "J&F")
    overall = details.get("overall") or details["per_expression"]["overall"]
    official = details["official"]["overall"] if samples.scored_as == "ref-davis17" else {}
    return {name: overall[name] for name in names} | {
        f"official {name}": official[name] for name in names if name in official
    }


def _has_every_frame(samples: AnnotatedVideos) -> bool:
    """Are the samples of each expression all frames that have a truth? J and F are averages over videos."""
    counts, first = Counter(map(samples.expression, range(len(samples)))), {}
    for i in range(len(samples)):
        first.setdefault(samples.expression(i), i)
    if max(counts.values(), default=0) < 2:
        return False
    return all(counts[one] == len(samples.frames_with_truth(i)) for one, i in first.items())


def _data_fingerprint(samples: AnnotatedVideos) -> str:
    """12 hex digits of what is asked of which frame of which video."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr(sample).encode())
    return digest.hexdigest()[:12]


def _write_table(file: Path, rows: list[list[Any]]) -> None:
    with whole(file) as partial, partial.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
