"""Metrics: every expected number is counted by hand, or comes from COCOeval on the masks themselves."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco_mask

from mmvs.metrics import ScoresByKind, SegmentationMetrics, SelectionAccuracy, foreground_score

NAMES = {"mean_iou", "overall_iou", "map", "mean_precision", "samples"}
NAMES |= {f"precision@0.{k}" for k in range(5, 10)}


def pair(intersection, predicted, true, width=100, height=2):
    """Two masks (height, width) with these areas."""
    prediction, target = np.zeros((2, height * width), bool)
    target[:true] = True
    prediction[true - intersection : true - intersection + predicted] = True
    assert prediction.sum() == predicted and (prediction & target).sum() == intersection
    return prediction.reshape(height, width), target.reshape(height, width)


def scores(*samples):
    metrics = SegmentationMetrics()
    for sample in samples:
        metrics.update(*sample)
    return metrics.compute()


def random_samples(number, seed=0, ties=True):
    """Masks of different resolutions: noisy copies of a box, some empty, one a perfect hit; tied scores."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(number):
        height, width = rng.integers(8, 40, 2)
        target = np.zeros((height, width), bool)
        target[rng.integers(0, 4) : rng.integers(5, height), rng.integers(0, 4) : rng.integers(5, width)] = (
            True
        )
        prediction = target ^ (rng.random(target.shape) < rng.choice([0, 0.02, 0.1, 0.3]))
        if i % 7 == 3:
            prediction[:] = False
        if i % 11 == 5:
            target[:] = False
        score = round(float(rng.random()), 1) if ties else float(rng.random())
        samples.append((prediction, target, score))
    return samples


def coco_map(samples):
    """The definition: COCOeval, iouType segm, on the run-length encoded masks."""

    def encode(mask):
        return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))

    truth = COCO()
    truth.dataset = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    detections = []
    for i, (prediction, target, score) in enumerate(samples, 1):
        height, width = target.shape
        truth.dataset["images"].append({"id": i, "height": height, "width": width})
        record = {"image_id": i, "category_id": 1}
        truth.dataset["annotations"].append(
            record | {"id": i, "segmentation": encode(target), "area": int(target.sum()), "iscrowd": 0}
        )
        detections.append(record | {"segmentation": encode(prediction), "score": score})
    truth.createIndex()
    evaluation = COCOeval_faster(truth, truth.loadRes(detections), iouType="segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


def test_scores_counted_by_hand():
    result = scores((*pair(30, 40, 40), 0.9), (*pair(20, 20, 80), 0.8), (*pair(0, 10, 10), 0.7))
    # IoU 30/50, 20/80 and 0/20
    assert set(result) == NAMES
    assert result["samples"] == 3
    assert result["mean_iou"] == pytest.approx((0.6 + 0.25 + 0) / 3, abs=1e-6)
    assert result["overall_iou"] == pytest.approx(50 / 150)
    assert result["precision@0.5"] == pytest.approx(1 / 3)
    assert result["precision@0.6"] == 0
    assert result["mean_precision"] == pytest.approx(3 / 10 / 3)  # reached: 0.50, 0.55, 0.60
    # The first rank is right at these three: precision 1 up to recall 1/3, which is 34 of COCO's 101 points.
    assert result["map"] == pytest.approx(0.3 * 34 / 101)


@pytest.mark.parametrize("percent", [50, 60, 70, 80, 90])
def test_ties_count_for_mean_precision_but_not_for_precision(percent):
    tied = scores(pair(percent, percent, 100))
    above = scores(pair(percent + 1, percent + 1, 100))
    name = f"precision@{percent / 100}"
    assert tied[name] == 0 and above[name] == 1
    assert tied["mean_precision"] == pytest.approx((percent - 45) / 5 / 10)
    assert tied["map"] == pytest.approx((percent - 45) / 5 / 10)


@pytest.mark.parametrize("factor", [1, 3, 7, 1111, 12345])
def test_ties_of_any_size_are_exact(factor):
    tied = scores(pair(7 * factor, 7 * factor, 10 * factor, width=10 * factor))
    assert tied["precision@0.7"] == 0 and tied["precision@0.6"] == 1
    assert tied["mean_precision"] == pytest.approx(0.5)
    assert tied["map"] == pytest.approx(0.5)  # whatever the area
    below = scores(pair(7 * factor - 1, 7 * factor - 1, 10 * factor, width=10 * factor))
    assert below["mean_precision"] < 0.5


def test_empty_masks():
    both = scores(pair(0, 0, 0))
    assert both["mean_iou"] == both["overall_iou"] == both["precision@0.9"] == both["mean_precision"] == 1
    assert both["map"] == 0  # COCOeval knows no smoothing: nothing was matched
    for one in (scores(pair(0, 0, 9)), scores(pair(0, 9, 0))):
        assert one["mean_iou"] == pytest.approx(0, abs=1e-6)
        assert one["overall_iou"] == one["precision@0.5"] == one["mean_precision"] == one["map"] == 0
    assert scores(pair(0, 0, 0), pair(5, 5, 10))["overall_iou"] == 0.5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [True, False])
def test_map_is_that_of_cocoeval_on_the_masks(seed, ties):
    samples = random_samples(150, seed, ties)
    expected = coco_map(samples)
    assert 0.1 < expected < 0.9
    assert scores(*samples)["map"] == pytest.approx(expected, abs=1e-12)


def test_map_of_exact_ties_and_empty_masks_is_that_of_cocoeval():
    samples = [(*pair(p, p, 100), 0.5) for p in range(45, 100, 5)]
    samples += [(*pair(0, 0, 0), 0.9), (*pair(0, 0, 10), 0.8), (*pair(0, 10, 0), 0.7), (*pair(9, 9, 9), 0.6)]
    assert scores(*samples)["map"] == pytest.approx(coco_map(samples), abs=1e-12)


def test_map_ranks_by_score():
    good, bad = pair(100, 100, 100), pair(0, 50, 50)
    assert scores((*good, 0.9), (*bad, 0.1))["map"] == pytest.approx(51 / 101)
    assert scores((*good, 0.1), (*bad, 0.9))["map"] == pytest.approx(51 / 101 / 2)
    assert scores((*good, None), (*bad, 0.9))["map"] == pytest.approx(51 / 101)  # None is 1.0


def test_arrays_and_tensors_are_equal():
    samples = random_samples(10)
    tensors = [(torch.from_numpy(p), torch.from_numpy(t), torch.tensor(s)) for p, t, s in samples]
    assert scores(*tensors) == pytest.approx(scores(*samples), abs=1e-6)
    flipped = [(p[::-1], t[::-1], s) for p, t, s in samples]  # negative strides, which torch refuses
    assert scores(*flipped) == scores(*samples)


def test_only_numbers_are_kept():
    metrics = SegmentationMetrics()
    for i in range(10_000):
        metrics.update(*pair(i % 10, 10, 20), i / 1e4)
    assert sum(row.numel() for row in metrics.table) == 10_000 * 5
    assert metrics.compute()["samples"] == 10_000


def within_a_gigabyte(report):
    """10,000 samples of 320x240: their masks would be 1.5 GB, and the address space may grow by 1 GB only."""
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), resource.RLIM_INFINITY))
    metrics, target = SegmentationMetrics(), np.zeros((240, 320), bool)
    target[60:180, 80:240] = True
    for i in range(10_000):
        metrics.update(np.roll(target, i % 40, axis=1), target.copy(), i / 1e4, position=i)
    torch.save(metrics.compute(), report)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory is in use")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_ten_thousand_samples_stream_through_less_than_a_gigabyte(tmp_path):
    process = multiprocessing.get_context("fork").Process(
        target=within_a_gigabyte, args=(tmp_path / "scores",)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    assert torch.load(tmp_path / "scores")["samples"] == 10_000


def test_reset_forgets():
    metrics = SegmentationMetrics()
    metrics.update(*pair(0, 5, 5))
    metrics.compute()
    metrics.reset()
    metrics.update(*pair(5, 5, 5))
    assert metrics.compute()["mean_iou"] == 1


def test_bad_input_is_refused():
    metrics = SegmentationMetrics()
    mask = np.ones((3, 4), bool)
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4, 3\)"):
        metrics.update(mask, mask.T)
    with pytest.raises(TypeError, match="prediction is float32"):
        metrics.update(mask.astype(np.float32), mask)
    with pytest.raises(TypeError, match="target is uint8"):
        metrics.update(torch.from_numpy(mask), torch.ones(3, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(1, 3, 4\)"):
        metrics.update(mask[None], mask[None])
    with pytest.raises(ValueError, match="score is nan"):
        metrics.update(mask, mask, float("nan"))
    assert not metrics.table


@pytest.mark.parametrize("metrics", [SegmentationMetrics, SelectionAccuracy, ScoresByKind])
def test_no_samples_is_an_error(metrics):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchmetrics' own
        with pytest.raises(ValueError, match="no samples"):
            metrics().compute()


def test_merged_parts_equal_the_whole():
    samples = random_samples(60)
    whole, first, second = SegmentationMetrics(), SegmentationMetrics(), SegmentationMetrics()
    for i, sample in enumerate(samples):
        whole.update(*sample)
        (first, second)[i % 2].update(*sample, position=i)
    second.update(*samples[0], position=0)  # as a distributed sampler pads its last round
    first.merge_state(second)
    assert first.compute() == whole.compute()


def by_kind(samples, positions):
    """ScoresByKind of some of the samples; each has two objects: its target, and all the rest."""
    metrics = ScoresByKind()
    for i in positions:
        prediction, target, score = samples[i]
        kind, probability = ("motion", "both")[i % 2], np.where(prediction, 0.9, 0.2)
        metrics.update(kind, prediction, target, score, probability, {1: target, 2: ~target}, 1, position=i)
    return metrics


def gathered(rank, rendezvous, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    samples = random_samples(20)
    dealt = by_kind(samples, [*range(rank, 20, 2), rank])  # each process has one kind, and a repeated sample
    alone = by_kind(samples, [range(20), ()][rank])  # the second process has nothing
    torch.save((dealt.compute(), alone.compute()), Path(results) / str(rank))
    torch.distributed.destroy_process_group()


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_equal_one(tmp_path):
    # Forked, since a spawned process imports torch anew, which takes longer than all other tests here.
    arguments = (str(tmp_path / "rendezvous"), str(tmp_path))
    multiprocessing.start_processes(gathered, arguments, nprocs=2, start_method="fork")
    expected = by_kind(random_samples(20), range(20)).compute()
    for rank in ("0", "1"):
        dealt, alone = torch.load(tmp_path / rank)
        assert dealt == expected
        assert alone == expected


def test_foreground_score():
    probability = np.array([[0.2, 0.6], [0.8, 0.0]], np.float32)
    mask = np.array([[False, True], [True, False]])
    assert foreground_score(probability, mask) == pytest.approx(0.7)
    assert foreground_score(torch.from_numpy(probability), torch.from_numpy(mask)) == pytest.approx(0.7)
    assert foreground_score(torch.ones(2, 2, dtype=torch.bfloat16), mask) == 1
    assert foreground_score(probability, ~mask & mask) == 0
    with pytest.raises(ValueError, match="not logits"):
        foreground_score(probability * 10, mask)
    with pytest.raises(ValueError, match="nan"):
        foreground_score(probability * np.nan, mask)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(1, 2\)"):
        foreground_score(probability, mask[:1])


def thirds():
    """Three objects side by side, and a probability that falls from left to right."""
    masks = {id: np.zeros((2, 6), bool) for id in (4, 1, 9)}
    for column, mask in zip((0, 2, 4), masks.values(), strict=True):
        mask[:, column : column + 2] = True
    return np.tile(np.linspace(1, 0, 6, dtype=np.float32), (2, 1)), masks


def test_selection_accuracy():
    probability, masks = thirds()
    metrics = SelectionAccuracy()
    metrics.update(probability, masks, 4)
    metrics.update(probability, masks, 9)
    metrics.update(probability[:, ::-1], masks, 9)
    metrics.update(probability, {9: masks[9]}, 9)  # the only object is always right
    result = metrics.compute()
    assert result == pytest.approx({"selection_accuracy": 3 / 4, "selection_chance": (3 * 1 / 3 + 1) / 4})


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_probability_selects_by_chance(value):
    probability, masks = thirds()
    masks[9][:, 5] = False  # different sizes
    metrics = SelectionAccuracy()
    metrics.update(np.full_like(probability, value), masks, 1)
    result = metrics.compute()
    assert result["selection_accuracy"] == pytest.approx(result["selection_chance"]) == pytest.approx(1 / 3)


def test_selection_of_hidden_and_unknown_objects():
    probability, masks = thirds()
    metrics = SelectionAccuracy()
    metrics.update(probability, masks | {4: masks[4] & False}, 4)
    assert metrics.compute()["selection_accuracy"] == 0
    with pytest.raises(ValueError, match=r"instance 7 .* \[1, 4, 9\]"):
        metrics.update(probability, masks, 7)


def test_a_sentence_about_nothing_chooses_no_object():
    probability, masks = thirds()
    metrics = SelectionAccuracy()
    metrics.update(probability, {}, 4)
    assert metrics.compute() == {}
    metrics.update(probability, masks, 4)
    assert metrics.compute() == pytest.approx({"selection_accuracy": 1.0, "selection_chance": 1 / 3})


def test_scores_by_kind():
    probability, masks = thirds()
    good, bad = masks[4], masks[9]
    metrics = ScoresByKind()
    metrics.update("motion", good, masks[4], None, probability, masks, 4)
    metrics.update("both", bad, masks[1], 0.3, probability, masks, 1)
    metrics.update(None, good, masks[4], 0.2, probability, masks, 4)
    result = metrics.compute()
    assert list(result) == ["all", "both", "motion"]
    assert all(set(group) == NAMES | {"selection_accuracy", "selection_chance"} for group in result.values())
    assert [group["samples"] for group in result.values()] == [3, 1, 1]
    assert result["motion"]["mean_iou"] == result["motion"]["selection_accuracy"] == 1
    assert result["both"]["overall_iou"] == result["both"]["selection_accuracy"] == 0
    assert result["all"]["overall_iou"] == pytest.approx(8 / 16)
    # Ranked by score: the first (its mean probability, 0.9), the miss (0.3), the other hit (0.2).
    assert result["all"]["map"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    with pytest.raises(ValueError, match="all"):
        metrics.update("all", good, good, None, probability, masks, 4)
