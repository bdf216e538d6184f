"""Tables, figures and pages, from small result files whose numbers are worked out by hand."""

from __future__ import annotations

import base64
import json
import re

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
import tiny
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from mmvs.config import LADDER, ROOT, experiment
from mmvs.report import charts, cited_scores, pages, pictures, runs, sentence_survey, survey, tables
from mmvs.report.intervals import Estimate
from mmvs.run_folder import ReportError, Result
from mmvs.schema import Example, Sample
from mmvs.verify.findings import Finding, Verification

matplotlib.use("Agg")
EVIL = "<script>alert(1)</script>"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


MEASURES = ("selection_accuracy", "selection_chance")


def result(mean_iou=0.8, data_set="shapes-test", steps=700, **provenance):
    kinds = {"motion": {"mean_iou": 0.9, "samples": 3}, "all": {"mean_iou": mean_iou, "samples": 8}}
    kinds["all"] |= {name: provenance.pop(name) for name in MEASURES if name in provenance}
    parameters = {"model": {**LADDER["B+M"], "width": 48}, "training": {"steps": 700}}
    return tiny.result({data_set: kinds}, steps, **{"parameters": parameters, **provenance})


def write(folder, content, name="metrics.json"):
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Result):
        content = content.text()
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def cells(**rungs):
    """A ladder.json of one data set, from rung -> mean IoU of seeds 0, 1, ..."""
    one = {"all": 0.0, "motion": 0.1}  # kind -> what is added to the number
    return {
        rung: {
            str(seed): {"d": {kind: {"mean_iou": value + more} for kind, more in one.items()}}
            for seed, value in enumerate(values)
        }
        for rung, values in rungs.items()
    }


def example(sentence="the red circle", words=("[CLS]", "the", "red", "circle", "[SEP]"), iou=0.25):
    random = np.random.default_rng(0)
    truth = np.zeros((16, 24), bool)
    truth[4:8, 6:12] = True  # one cell of four rows and six columns
    attention = np.full((len(words), 4, 4), 0.1, np.float32)
    attention[2, 1, 1] = 0.9  # the cell of the object looks at the third word
    return Example(
        video_id="v",
        frame_index=0,
        sentence=sentence,
        kind="both",
        words=list(words),
        frame=random.integers(0, 256, (16, 24, 3), dtype=np.uint8),
        flow=random.normal(size=(2, 16, 24)).astype(np.float32),
        attention=attention,
        coarse=random.random((16, 24), dtype=np.float32),
        probability=random.random((16, 24), dtype=np.float32),
        mask=np.roll(truth, 2, axis=1),
        truth=truth,
        iou=iou,
    )


# Tables


def test_tables_put_all_first_then_the_known_kinds():
    assert tables.kinds_first({"zebra", "temporal", "all", "both", "motion"}) == [
        "all", "motion", "both", "temporal", "zebra",
    ]  # fmt: skip


def test_controls_are_of_a_data_set():
    names = ["a-test", "a-test-shuffled", "a-test-backwards", "mosaic:own-valid-copied"]
    assert [*map(tables.without_control, names)] == ["a-test", "a-test", "a-test", "mosaic:own-valid"]


def test_scores_are_one_row_per_data_set_and_kind():
    table = tables.scores(result())
    assert list(table.index) == [("shapes-test", "all"), ("shapes-test", "motion")]
    assert table.loc[("shapes-test", "motion"), "mean IoU"] == 0.9
    assert table.loc[("shapes-test", "all"), "samples"] == 8
    assert "mAP" not in table, "a measure that no file holds is no column"


def test_runs_are_compared_where_they_know_the_data_set():
    other = result(mean_iou=0.3)
    del other.scores["shapes-test"]["motion"]
    table = tables.comparison(
        {"full": result(), "less": other, "foreign": result(data_set="x")}, "shapes-test"
    )
    assert list(table) == ["full", "less"] and list(table.index) == ["all", "motion"]
    assert table.loc["all"].tolist() == [0.8, 0.3]
    assert np.isnan(table.loc["motion", "less"])


def test_only_finished_runs_are_read(tmp_path):
    write(tmp_path / "one", result())
    (tmp_path / "two").mkdir()
    assert list(tables.results(tmp_path, ["one", "two", "three"])) == ["one"]


def test_provenance_leaves_the_parameters_out_and_flattens_versions():
    table = tables.provenance(result())
    assert table.loc["versions", "value"] == "torch 2.9, numpy 2.0"
    assert table.loc["seed", "value"] == "5" and "parameters" not in table.index


def test_half_width_is_students_t():
    # seeds 0.2, 0.3, 0.4: standard deviation 0.1; t of 97.5 % with 2 degrees of freedom: 4.302653
    assert tables.half_width(pd.Series([0.2, 0.3, 0.4])) == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    # two seeds: t with 1 degree of freedom is 12.706205, half the distance is sd / sqrt 2
    assert tables.half_width(pd.Series([0.5, 0.7])) == pytest.approx(12.706205 * 0.1, rel=1e-6)
    assert np.isnan(tables.half_width(pd.Series([0.5])))


def test_increments_pair_equal_seeds():
    ladder = cells(**{"B+M": [0.5, 0.6, 1.0], "B": [0.2, 0.3, 0.4]})
    table = tables.increments(tables.ladder_cells(ladder, "d"))
    assert list(table.index) == ["B", "B+M"], "the ladder's order, not the file's"
    assert table["mean"].tolist() == pytest.approx([0.3, 0.7]) and table["seeds"].tolist() == [3, 3]
    assert table.loc["B", "half"] == pytest.approx(0.248414, abs=1e-6)
    # gains 0.3, 0.3, 0.6: mean 0.4, standard deviation 0.1 * sqrt 3, interval 4.302653 * 0.1
    assert table.loc["B+M", "gain"] == pytest.approx(0.4)
    assert table.loc["B+M", "gain half"] == pytest.approx(0.4302653, abs=1e-6)
    assert np.isnan(table.loc["B", "gain"])


def test_increments_of_an_unfinished_ladder():
    ladder = cells(**{"B": [0.2, 0.3], "B+M+T": [0.7]})  # seed 1 of the upper rung is missing
    table = tables.increments(tables.ladder_cells(ladder, "d"), kind="motion")
    assert table["mean"].tolist() == pytest.approx([0.35, 0.8])
    assert table["seeds"].tolist() == [2, 1]
    assert table.loc["B+M+T", "gain"] == pytest.approx(0.5), "of seed 0 alone"
    assert np.isnan(table.loc["B+M+T", "half"]) and np.isnan(table.loc["B+M+T", "gain half"])
    assert tables.increments(tables.ladder_cells({}, "d")).empty


def test_ladder_cells_read_the_file_of_a_ladder(tmp_path):
    ladder = json.loads(write(tmp_path, cells(B=[0.2], unheard=[0.9]), "ladder.json").read_text())
    table = tables.ladder_cells(ladder, "d")
    assert table[["rung", "seed", "kind"]].values.tolist() == [["B", 0, "all"], ["B", 0, "motion"]]
    assert table["value"].tolist() == pytest.approx([0.2, 0.3])
    assert tables.ladder_cells(ladder, "another data set").empty


class Shapes:
    """Two samples, enough of a data set and of a flow store for survey.samples."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return Sample("v", 0, i, "the red circle", kind=("motion", None)[i])

    def mask(self, i):
        mask = np.zeros((4, 8), bool)
        mask[:2, : 4 * (1 - i)] = True  # a quarter of the frame; of the second sample nothing
        return mask

    def video_path(self, video_id):
        return video_id

    def window(self, i, size):
        return list(range(size)), np.zeros((size, 4, 8, 3), np.uint8)

    def read(self, video_id, path, frames):
        flow = np.zeros((1, 2, 2, 4), np.float32)  # half the resolution of the masks
        flow[0, :, 0, :2] = np.reshape([3.0, 4.0], (2, 1))
        return flow


def test_samples_are_measured_in_the_videos_pixels():
    table = survey.samples(Shapes(), Shapes())
    assert table["kind"].tolist() == ["motion", "all"] and table["words"].tolist() == [3, 3]
    assert table["size"].tolist() == [0.25, 0.0]
    assert table["speed"][0] == 10.0, "a flow of length 5, stored at half the width"
    assert np.isnan(table["speed"][1])
    assert "speed" not in survey.samples(Shapes())


def test_words_are_counted():
    assert survey.frequent_words(["a b", "b c", "b a"], count=2).to_dict() == {"b": 3, "a": 2}


def test_best_median_and_worst_of_every_kind(tmp_path):
    rows = [f"d,{i},v,0,0,{kind},s,{iou}" for i, (kind, iou) in enumerate(
        [("motion", 0.1), ("motion", 0.9), ("motion", 0.5), ("both", 0.3), ("both", 0.2), ("both", 0.4)]
    )]  # fmt: skip
    head = "data_set,index,video_id,frame,instance_id,kind,sentence,iou"
    file = write(tmp_path, "\n".join([head, *rows]), "samples.csv")
    picked = tables.best_median_worst(pd.read_csv(file))
    assert picked[["kind", "case", "index"]].values.tolist() == [
        ["motion", "best", 1], ["motion", "median", 2], ["motion", "worst", 0],
        ["both", "best", 5], ["both", "median", 3], ["both", "worst", 4],
    ]  # fmt: skip


def test_a_data_set_without_kinds_has_cases_too():
    table = pd.DataFrame({"index": [0, 1], "kind": [None, None], "iou": [0.2, 0.6]})
    assert tables.best_median_worst(table)["index"].tolist() == [1, 0, 0]


def test_counts_of_data_sets():
    table = survey.counts({"one": Shapes()})
    assert table.loc["one"].to_dict() == {
        "videos": 1, "annotated frames": 1, "sentences": 2, "samples": 2, "motion": 1,
    }  # fmt: skip


def test_strips_of_every_kind_and_of_flow():
    rows = survey.strips(Shapes(), frames=3)
    assert [heading for heading, _, _ in rows] == ["all: “the red circle”", "motion: “the red circle”"]
    for _, frames, masks in rows:
        assert len(frames) == 3 and list(masks) == [1], "the annotated frame is in the middle"
    ((heading, frames, flow),) = survey.flow_strips(Shapes(), Shapes(), clips=1, frames=3)
    assert heading == "v: “the red circle”" and len(frames) == 3 and flow.shape[1] == 2


def test_animations_are_of_two_objects_of_the_best_clip():
    rows = [
        (0, "a", 1, 1.0),
        (1, "a", 2, 0.2),
        (2, "b", 1, 0.7),
        (3, "b", 1, 0.9),  # another sentence of the same object
        (4, "b", 2, 0.8),
        (5, "c", 1, 0.95),
    ]
    table = pd.DataFrame(rows, columns=["index", "video_id", "instance_id", "iou"])
    assert tables.best_pair(table) == [3, 4], "0.8 at worst; the other pair has 0.2"
    assert tables.best_pair(table.query("index in [2, 5]")) == [5]


def test_cells_of_a_ladder_say_where_they_came_from(tmp_path):
    own = experiment(run="own", reports=str(tmp_path))
    write(tmp_path / "own", result(steps=700))
    write(tmp_path / "own" / "ladder" / "B" / "1", result(steps=300, wall_seconds={"training": 90}))
    shared = tmp_path / "own" / "explicit_motion" / "video+flow" / str(own.training.steps) / "1"
    write(shared, result(steps=800))
    full = "B+M+T+L+A"
    table = tables.ladder_provenance(own, {"B": {"1": {}}, full: {"0": {}, "1": {}}})
    assert list(table.index) == [("B", "1"), (full, "0"), (full, "1")]
    assert table["steps"].tolist() == [300, 700, 800], "the run itself, and a cell of explicit motion"
    assert table["training, min"].iloc[0] == 1.5 and table["commit"].iloc[0] == "0123456789+"


def test_verdicts_follow_the_interval():
    # gains 0.3, 0.3, 0.6: 0.4 ± 0.430265 holds zero; 0.2, 0.2, 0.2 ± 0 does not, nor does its opposite
    ladder = cells(**{"B": [0.2, 0.3, 0.4], "B+M": [0.5, 0.6, 1.0], "B+M+T": [0.7, 0.8, 1.2]})
    column = tables.verdicts(tables.ladder_cells(ladder, "d"))["all"]
    assert column["B+M"] == "not shown: +0.400 ± 0.430"
    assert column["B+M+T"].startswith("helps: +0.200") and list(column.index) == ["B+M", "B+M+T"]
    falling = cells(**{"B": [0.5, 0.6], "B+M": [0.2, 0.31]})
    assert tables.verdicts(tables.ladder_cells(falling, "d"))["motion"]["B+M"].startswith("hurts: -0.295")
    once = cells(**{"B": [0.5], "B+M": [0.6]})
    assert tables.verdicts(tables.ladder_cells(once, "d"))["all"]["B+M"] == "+0.100 (one seed)"
    assert tables.verdicts(tables.ladder_cells({}, "d")).empty


# Figures


def texts(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def heights(axis) -> list[float]:
    return [bar.get_height() for bar in axis.patches if bar.get_height()]


def widths(axis) -> list[float]:
    return [bar.get_width() for bar in axis.patches if bar.get_width()]


def test_score_bars_are_the_table():
    table = tables.scores(result())
    figure = charts.score_bars(table)
    assert widths(figure.axes[0]) == [0.8, 0.9]
    assert {"0.80", "0.90", "motion", "shapes-test", "mean IoU"} <= set(texts(figure))
    assert not matplotlib.pyplot.get_fignums(), "left open, a notebook would show it twice"


def test_score_bars_mark_selection_and_chance():
    table = tables.scores(result()).assign(selection=[0.7, 0.6], chance=[0.25, 0.3])
    scores, selection = charts.score_bars(table).axes
    assert widths(scores) == [0.8, 0.9] and widths(selection) == [0.7, 0.6]
    dashes = [tuple(c.get_offsets()[:, 0]) for c in selection.collections]
    assert dashes and set(dashes) == {(0.25, 0.3)}


def test_scores_have_the_intervals_that_are_known():
    known = {"shapes-test": {"all": Estimate(0.8, 0.7, 0.85, 12)}}
    table = tables.scores(result(), known)
    assert list(table)[:3] == ["mean IoU", "low", "high"]
    assert table.loc[("shapes-test", "all"), ["low", "high"]].tolist() == [0.7, 0.85]
    assert np.isnan(table.loc[("shapes-test", "motion"), "low"])
    (whiskers,) = charts.score_bars(table).axes[0].containers[-1].lines[2]
    assert whiskers.get_segments()[0][:, 0].tolist() == pytest.approx([0.7, 0.85])


def test_compared_bars_are_one_group_a_kind():
    figure = charts.comparison_bars(tables.comparison({"full": result(), "less": result(0.3)}, "shapes-test"))
    assert sorted(heights(figure.axes[0])) == [0.3, 0.8, 0.9, 0.9]
    assert {"full", "less", "all", "motion", "0.30"} <= set(texts(figure))


def test_ladder_has_a_bar_a_rung_with_its_interval():
    table = tables.ladder_cells(cells(**{"B": [0.2, 0.3, 0.4], "B+M": [0.6]}), "d")
    figure = charts.ladder(table)
    (axis,) = figure.axes
    assert heights(axis) == pytest.approx([0.3, 0.6])
    assert [t.get_text() for t in axis.get_xticklabels()] == ["B", "B+M"]
    (whisker,) = axis.containers[1].lines[2][0].get_segments()
    assert whisker[:, 1] == pytest.approx([0.3 - 0.248414, 0.3 + 0.248414], abs=1e-6)


def test_whiskers_of_a_ladder_end_where_scores_do():
    (axis,) = charts.ladder(tables.ladder_cells(cells(B=[0.1, 0.9]), "d")).axes  # 0.5 ± 5.08
    (whisker,) = axis.containers[1].lines[2][0].get_segments()
    assert whisker[:, 1].tolist() == [0, 1]
    (label,) = axis.texts
    assert 1 < label.get_position()[1] < axis.get_ylim()[1]


def test_ladder_kinds_have_a_panel_each():
    figure = charts.ladder_kinds(tables.ladder_cells(cells(B=[0.2]), "d"))
    assert [axis.get_title() for axis in figure.axes] == ["motion"]
    assert heights(figure.axes[0]) == pytest.approx([0.3])


def systems(**values):
    """An explicit_motion.json of 900 steps on all videos, from system -> mean IoU of seeds 0, 1, ..."""
    return {system.replace("_", "+"): {"900": seeds} for system, seeds in cells(**values).items()}


def test_the_worth_of_flow_pairs_equal_seeds():
    content = systems(video=[0.2, 0.3, 0.4], video_flow=[0.5, 0.6, 0.9], image=[0.1])
    content["video"]["1800/0.5"] = content["video"]["900"]  # without its pair
    table = tables.system_cells(content, "d")
    assert set(table["share"]) == {1.0, 0.5} and set(table["steps"]) == {900, 1800}
    worth = tables.worth_of_flow(table)
    assert list(worth.index) == [(900, 1.0, "all"), (900, 1.0, "motion")]
    row = worth.loc[(900, 1.0, "all")]
    assert (row["video"], row["video+flow"], row["gain"]) == pytest.approx((0.3, 2 / 3, 11 / 30))
    assert row["seeds"] == 3 and row["half"] == pytest.approx(tables.half_width(pd.Series([0.3, 0.3, 0.5])))
    finding = tables.finding_on_flow(table)
    assert finding.startswith("After 900 steps, flow beside the frames adds +0.37 ± 0.29 to the mean IoU")
    assert "3 seeds): +0.37 ± 0.29 on motion." in finding


def test_a_single_seed_has_no_interval_and_no_pair_no_finding():
    table = tables.system_cells(systems(video=[0.2], video_flow=[0.1]), "d")
    assert "adds -0.10 to" in tables.finding_on_flow(table) and "1 seed)" in tables.finding_on_flow(table)
    for content in ({}, systems(video=[0.2])):
        table = tables.system_cells(content, "d")
        assert tables.worth_of_flow(table).empty
        assert tables.finding_on_flow(table).startswith("No pair")


def test_curves_of_systems_draw_means_and_what_choosers_reach():
    table = tables.system_cells(systems(video=[0.2, 0.4], video_flow=[0.6]), "d")
    floors = pd.DataFrame({"looks alone": {"motion": 0.25}})
    figure = charts.system_curves(table, "steps", "mean IoU", floors)
    assert [axis.get_title() for axis in figure.axes] == ["all", "motion"]
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[1].get_lines()}
    assert lines["video"] == pytest.approx([0.4]) and lines["video+flow"] == pytest.approx([0.7])
    assert lines["looks alone"] == [0.25, 0.25] and "image" not in lines
    assert "looks alone" not in {line.get_label() for line in figure.axes[0].get_lines()}


def test_ladder_of_data_without_kinds_shows_all():
    table = tables.ladder_cells(cells(B=[0.2]), "d").query("kind == 'all'")
    assert [axis.get_title() for axis in charts.ladder_kinds(table).axes] == ["all"]


def test_curves_draw_every_term_validation_and_rate():
    log = pd.DataFrame(
        {
            "step": [0, 1, 2],
            "train/loss": [2.0, 1.0, None],
            "train/cross_modal": [0.5, 0.4, None],
            "val/mean_iou": [None, None, 0.3],
            "lr-AdamW/rest": [1e-3, 9e-4, None],
            "lr-AdamW/rest (no decay)": [1e-3, 9e-4, None],
        }
    )
    loss, iou, rate = charts.curves(log).axes
    assert [line.get_label() for line in loss.lines] == ["loss", "cross-modal"]
    assert iou.lines[0].get_xydata().tolist() == [[2.0, 0.3]]
    assert [line.get_label() for line in rate.lines] == ["rest"]
    assert rate.lines[0].get_ydata().tolist() == pytest.approx([1, 0.9])


def test_overview_counts_samples():
    samples = pd.DataFrame(
        {
            "kind": ["motion", "motion", "both"],
            "sentence": ["a b", "a c", "a"],
            "words": [2, 2, 1],
            "size": [0.1, 0.2, 0.3],
            "speed": [1.0, 2.0, 3.0],
        }
    )
    lengths, words, sizes, _ = charts.overview(samples).axes
    assert sorted(heights(lengths)) == [1, 2]
    assert [bar.get_width() for bar in words.patches] == [3, 1, 1]
    assert [label.get_text() for label in words.get_yticklabels()] == ["a", "b", "c"]
    assert sum(heights(sizes)) == 3
    assert charts.overview(samples.drop(columns="speed")).get_suptitle().endswith("all 3")
    samples.attrs["of"] = 27390
    assert "3 of 27,390, evenly spread" in charts.overview(samples).get_suptitle()


def test_strips_outline_the_annotated_frame():
    sample, mask = example(), example().truth
    figure = pictures.film_strips(
        [("one", np.stack([sample.frame] * 3), {1: mask}), ("two", sample.frame[None], {})]
    )
    drawn = [len(axis.images) for axis in figure.axes]
    assert drawn == [1, 1, 1, 1, 0, 0]
    assert [len(axis.collections) for axis in figure.axes] == [0, 1, 0, 0, 0, 0]
    assert {"one", "two"} <= set(texts(figure))


def test_flow_strips_have_a_key_of_the_fastest():
    sample = example()
    flow = np.zeros((2, 2, 16, 24), np.float32)
    flow[:, 0] = 2.5
    figure = pictures.flow_strips([("one", np.stack([sample.frame] * 2), flow)])
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 0, 1, 1, 1]
    assert {"one", "rim: 2.5 px/frame"} <= set(texts(figure))


def test_flow_errors_are_labelled():
    figure = charts.flow_errors(pd.DataFrame({"inside": [0.2, 0.4], "outside": [0.1, 0.1]}))
    assert {"inside objects", "background"} <= set(texts(figure))


def test_colour_wheel_is_white_at_rest_and_saturated_at_the_rim():
    flow = np.zeros((2, 3, 4), np.float32)
    flow[0, 0, 0], flow[0, 0, 1], flow[0, 0, 2] = 2.0, -2.0, 9.0
    picture = pictures.colour_wheel(flow, largest=2.0)
    assert picture.shape == (3, 4, 3) and picture.dtype == np.uint8
    assert (picture[1] == 255).all()
    assert (picture[0, 0] != picture[0, 1]).any(), "left and right differ"
    assert (picture[0, 2] == picture[0, 0]).all(), "beyond the rim nothing grows"
    assert pictures.colour_wheel(np.zeros((5, 2, 3, 4)), None).shape == (5, 3, 4, 3)


def test_painting_changes_the_mask_alone():
    sample = example()
    changed = (pictures.paint(sample.frame, sample.truth) != sample.frame).any(axis=2)
    assert changed.any() and not (changed & ~sample.truth).any()


def test_cases_are_a_row_each_with_word_and_sentence():
    figure = pictures.cases([example(), example(iou=1.0)], ["best", "worst"])
    assert len(figure.axes) == 10 and all(axis.images for axis in figure.axes)
    written = " ".join(" ".join(texts(figure)).split())
    for text in ("best, IoU 0.25", "worst, IoU 1.00", "the red circle", "“red”", "coarse mask"):
        assert text in written


def test_attention_shows_content_words_by_their_share():
    sample = example()
    assert pictures.content_words(sample) == [2, 3], "no article, no [CLS]"
    figure = pictures.attention(sample, words=3)
    bars = [bar.get_width() for bar in figure.axes[-1].patches]
    assert bars == pytest.approx([10, 10, 90, 10, 10])  # the object is one cell
    assert [axis.get_title() for axis in figure.axes] == ["red", "circle", "", ""]


def test_dollars_of_a_sentence_are_no_formula():
    odd = example(r"$\frac$ and $x_{$", ["[CLS]", "the", r"$\frac$", "$x_{$", "[SEP]"])
    for figure in (
        pictures.cases([odd], ["best"]),
        pictures.attention(odd),
        pictures.film_strips([(odd.sentence, odd.frame[None], {})]),
        pictures.flow_strips([(odd.sentence, odd.frame[None], odd.flow[None])]),
    ):
        assert any(r"$\frac$" in text for text in texts(figure))


def test_animation_has_a_frame_per_frame_of_the_shortest(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    tracks = [("a sentence", frames, np.ones((4, 16, 24))), (EVIL, frames[:3], np.zeros((3, 16, 24)))]
    path = pictures.animation(tracks, tmp_path / "figures" / "tracks.gif", scale=2)
    with Image.open(path) as film:
        assert film.n_frames == 3 and film.size == (2 * (24 * 2 + 8), 16 * 2 + 34)


# Pages


@pytest.fixture
def reports(tmp_path):
    """Every sort of run: finished, finished with pages, unfinished, corrupt, hostile; and what is none."""
    folder = tmp_path / "reports"
    write(folder / "full", result())
    (folder / "full" / "figures").mkdir(parents=True)
    (folder / "full" / "figures" / "scores.png").write_bytes(base64.b64decode(PIXEL))
    write(folder / "full", cells(B=[0.2]), "ladder.json")
    write(folder / "full", "", "03_train.html")
    (folder / "going").mkdir()
    for run in ("full", "going"):
        nbformat.write(new_notebook(), folder / run / "03_train.ipynb")
    write(folder / "broken", '{"scores": ')
    hostile = result(
        0.123,
        data_set=f"d|{EVIL}",
        date="<b>|now",
        git_commit="<i>|",
        parameters={"flow": {"estimator": EVIL}},
    )
    hostile.scores[f"d|{EVIL}"]["<u>kind"] = {"mean_iou": 0.5}
    write(folder / '"><script>x', hostile)
    write(folder / "full" / "ladder" / "B" / "0", result(0.777))
    write(folder / "smoke", result(0.666))
    (folder / "empty").mkdir()
    return folder


def index_pages(reports):
    html, readme = pages.write_index(reports)
    assert (html, readme) == (reports / "index.html", reports / "README.md")
    return html.read_text(), readme.read_text()


def test_both_lists_hold_every_run(reports):
    every_run = runs.runs(reports)
    assert [run.name for run in every_run] == ['"><script>x', "broken", "full", "going"]
    for page in index_pages(reports):
        for name in ("full", "going", "broken", "0.800", "0.900", "shapes-test", "2024-05-06", "0123456789+"):
            assert name in page
        assert "model B+M, width 48, steps 700" in page
        for left_out in ("smoke", "0.666", "0.777", "empty"):
            assert left_out not in page


def test_unfinished_and_corrupt_runs_are_said_to_be(reports):
    (reports / "asked").mkdir()
    nbformat.write(new_notebook(), reports / "asked" / "06_your_video.ipynb")
    html, readme = index_pages(reports)
    assert re.search(r"^\| asked \| a video, without a truth", readme, re.MULTILINE)
    assert re.search(r"<h3>going</h3>\n<p>unfinished: no metrics.json yet</p>", html)
    assert re.search(r"^\| going \| unfinished: no metrics.json yet \|", readme, re.MULTILINE)
    assert re.search(r'<p class="bad">broken/metrics.json is not JSON', html)
    assert re.search(r"^\| broken \| .*broken/metrics.json is not JSON", readme, re.MULTILINE)


def test_a_run_that_only_looks_at_data_is_not_unfinished(tmp_path):
    for name in ("01_explore_data", "02_compute_flow"):
        write(tmp_path / "text", "{}", f"{name}.ipynb")
    (run,) = runs.runs(tmp_path)
    assert run.state == "data only: nothing trained"
    write(tmp_path / "text", "{}", "03_train.ipynb")
    assert runs.runs(tmp_path)[0].state == "unfinished: no metrics.json yet"


def test_links_and_pictures_exist(reports):
    html, readme = index_pages(reports)
    links = [link for link in re.findall(r'(?:href|src)="([^"#]+)"', html) if not link.startswith("data:")]
    assert {"full/03_train.html", "full/ladder.json", "going/03_train.html"} <= set(links)
    assert "data:image/jpeg;base64," in html
    assert "full/03_train.ipynb" not in links, "its page stands for it"
    for link in links + re.findall(r"\]\(([^)&]+)\)", readme):
        if "script" not in link and link != "index.html":
            assert (reports / link).exists(), link


def test_names_from_outside_open_no_tag_and_no_cell(reports):
    html, readme = index_pages(reports)
    for page in (html, readme):
        for tag in ("<script", "<b>", "<i>", "<u>"):
            assert tag not in page.replace("<script>\nconst field", "")
    assert "&lt;script&gt;" in html and "&lt;script>" in readme
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4, "heading, rule and four runs"
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, "as many cells in every row"


def test_damage_inside_a_file_does_not_stop_the_list(reports):
    damaged = [
        {},
        {"scores": {"d": {"all": 3}}},
        result().model_dump() | {"provenance": [1]},
        result().model_dump() | {"provenance": result().provenance.model_dump() | {"parameters": [1]}},
        result(parameters={"data": [1]}),
    ]
    for number, content in enumerate(damaged):
        write(reports / f"damaged{number}", content)
    for page in index_pages(reports):
        assert all(f"damaged{number}" in page for number in range(len(damaged)))


def test_runs_stand_by_data_set_with_what_a_script_sorts_and_filters_by(reports):
    html, _ = index_pages(reports)
    assert html.index("<h2>shapes-test</h2>") < html.index("<h2>without scores</h2>")
    assert re.search(r'<article id="full" data-name="full" data-date="2024-05-06"\ndata-score="0.8">', html)
    assert html.count("<script>") == 1 and "https://" not in html


def test_a_page_that_papermill_wrote_alone_is_rendered(reports):
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("# Alone")]), reports / "going" / "05_qualitative.ipynb"
    )
    html, _ = index_pages(reports)
    assert 'href="going/05_qualitative.html"' in html and (reports / "going/05_qualitative.html").exists()


def test_no_runs_yet(tmp_path):
    html, readme = index_pages(tmp_path / "reports")
    assert "make report" in html and "# Runs" in readme


def executed(path):
    table = pd.DataFrame({"sentence": [EVIL]})
    picture = new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure>"})
    outputs = [
        new_output("stream", name="stdout", text=f"said {EVIL}"),
        new_output("stream", name="stderr", text="a progress bar"),
        new_output("stream", name="stdout", text="\rEpoch 0:  50%|##   | 5/10 [00:05<00:05, 1.0it/s]\n"),
        new_output("stream", name="stdout", text="\r      \x1b[A"),
        new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "w"}}),
        new_output("execute_result", data={"text/html": table.to_html(), "text/plain": "a table"}),
        new_output("display_data", data={"text/html": '<script src="https://x.y/z.js"></script>'}),
        new_output("display_data", data={"application/javascript": "alert(1)"}),
        new_output("display_data", data={"image/gif": "R0lGODdh", "text/plain": "<Image>"}),
        picture,
        picture,
    ]
    code = new_code_cell("print('$x$')", outputs=outputs)
    notebook = new_notebook(cells=[new_markdown_cell("# Scores & <curves>\n\n$x$"), code])
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    nbformat.write(notebook, path)
    return path


def test_a_notebook_becomes_one_file_that_opens_offline(tmp_path):
    page = pages.render(executed(tmp_path / "03_train.ipynb"))
    assert page == tmp_path / "03_train.html" and sorted(p.name for p in tmp_path.iterdir()) == [
        "03_train.html", "03_train.ipynb",
    ]  # fmt: skip
    html = page.read_text()
    assert html.count("data:image/png;base64,") == 2 and html.count("data:image/gif;base64,R0lGODdh") == 1
    assert "<title>Scores &amp; &lt;curves&gt;</title>" in html
    assert "said &lt;script&gt;" in html and "<td>&lt;script&gt;" in html
    for text in (html, (tmp_path / "03_train.ipynb").read_text()):
        assert "a progress bar" not in text and "Epoch 0" not in text and "[A" not in text
        assert "said" in text
    for outside in ("<script", "<link", "@import", "<iframe", "http://", "https://", "url("):
        assert outside not in html.lower(), outside


def test_a_page_begins_with_its_finding_and_ends_with_its_set_up(tmp_path):
    write(tmp_path / "full", result(selection_accuracy=0.9, selection_chance=0.25))
    figure = charts.score_bars(tables.scores(result()))
    image = pages.save(figure, tmp_path / "full", "scores")
    shown = new_output("execute_result", data={"image/png": base64.b64encode(image.data).decode()})
    raw = new_output("execute_result", data={"text/plain": "{'a': 1}"})
    parameters = new_code_cell('run = "x"  # of papermill')
    parameters.metadata["tags"] = ["parameters"]
    cells_ = [
        new_markdown_cell("# Title"),
        parameters,
        new_code_cell("import pandas as pd\n\nfrom mmvs import config"),
        new_markdown_cell("## Scores"),
        new_code_cell("# NBVAL_CHECK_OUTPUT\nx = 1  # fmt: skip", outputs=[raw]),
        new_code_cell("figure", outputs=[shown]),
    ]
    path = tmp_path / "full" / "03_train.ipynb"
    nbformat.write(new_notebook(cells=cells_), path)
    html = pages.render(path).read_text()
    body = html[html.index("<body>") :]
    order = ["Title", 'class="finding"', "data:image/png", "<h2", "<details>", "papermill"]
    assert [body.index(part) for part in order] == sorted(body.index(part) for part in order)
    assert "Mean IoU 0.800 on shapes-test, the right object selected in 90% (chance: 25%)." in body
    assert body.count("data:image/png") == 1 and body.index("pandas") > body.index("<details>")
    for hidden in ("NBVAL", "fmt: skip", "&#39;a&#39;", "'a'"):
        assert hidden not in body


def test_tables_show_nothing_where_nothing_is(tmp_path):
    table = pd.DataFrame({"a": [np.nan, 1.5]}).to_html()
    cell = new_code_cell("table", outputs=[new_output("execute_result", data={"text/html": table})])
    path = tmp_path / "page.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    html = pages.render(path).read_text()
    assert "<td></td>" in html and "NaN" not in html and "<td>1.5</td>" in html


def test_names_of_an_index_stand_in_the_row_of_the_columns(tmp_path):
    """pandas writes them in a row of their own, below; names with rows that do not fit stay as they are."""
    index = pd.MultiIndex.from_tuples([("d", "all"), ("d", "motion")], names=["data set", "sentences"])
    table = pd.DataFrame({"mean IoU": [0.5, 0.6], "low": [0.4, 0.5]}, index=index).to_html()
    cell = new_code_cell("table", outputs=[new_output("execute_result", data={"text/html": table})])
    path = tmp_path / "page.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    head = re.search(r"<thead>(.*?)</thead>", pages.render(path).read_text(), re.DOTALL)[1]
    assert head.count("<tr>") == 1
    assert re.findall(r"<th[^>]*>([^<]*)</th>", head) == ["data set", "sentences", "mean IoU", "low"]


def test_two_runs_with_equal_results_leave_equal_files(tmp_path):
    """Nothing but the times of papermill and of the kernel differs: `git status` stays clean."""
    written = []
    for day in ("2026-01-01T00:00:00", "2026-01-02T00:00:00"):
        times = {
            "papermill": {"start_time": day, "end_time": day, "duration": float(day[9]), "exception": False}
        }
        cell = new_code_cell("1", id="a", metadata=times | {"execution": {"iopub.status.busy": day}})
        page = new_notebook(cells=[cell], metadata=times)
        nbformat.write(page, tmp_path / "page.ipynb")
        html = pages.render(tmp_path / "page.ipynb")
        written.append((html.read_bytes(), (tmp_path / "page.ipynb").read_bytes()))
    assert written[0] == written[1] and b'"exception"' in written[0][1]


def test_sentences_and_names_from_outside_reach_a_page_escaped(tmp_path):
    """Whatever an annotation file or a folder holds, its text opens no tag, in tables or in plain text."""
    texts = {"set": [(EVIL, "0", f"a dog {EVIL}"), ("v", "1", "<img src=x onerror=alert(1)>")]}
    findings = [Finding(EVIL, "none", "1", "missing", f"put it there: {EVIL}")]
    result = tiny.result({EVIL: {"all": {"mean_iou": 0.5}}}, samples_from={EVIL: EVIL})
    tables_shown = [
        Verification("set", findings).table(),
        sentence_survey.measure(texts["set"]),
        cited_scores.blank_unknown(cited_scores.own_scores(result)),
    ]
    outputs = [new_output("display_data", data={"text/html": table.to_html()}) for table in tables_shown]
    outputs.append(new_output("stream", name="stdout", text="\n".join(sentence_survey.examples(texts, 2))))
    path = tmp_path / "page.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)
    page = pages.render(path).read_text()
    assert "<script>alert" not in page and "<img src=x" not in page
    assert page.count("&lt;script&gt;alert") >= 6


def test_a_notebook_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ReportError, match="no notebook .*absent.ipynb"):
        pages.render(tmp_path / "absent.ipynb")
    with pytest.raises(ReportError, match="03_train.ipynb is not a notebook"):
        pages.render(write(tmp_path, "{]", "03_train.ipynb"))


def test_command_line(reports, capsys):
    assert tiny.command("report", "--reports", reports) == 0
    *scores, last = capsys.readouterr().out.splitlines()
    assert last == f"open {reports / 'index.html'}" and (reports / "README.md").exists()
    assert any("mean IoU 0.8" in line and "on shapes-test, all" in line for line in scores)
    assert tiny.command("report", "render", reports / "absent.ipynb") == 1
    assert "absent.ipynb" in capsys.readouterr().err


def test_figures_are_saved_beside_the_run(tmp_path):
    figure = charts.comparison_bars(tables.comparison({"full": result()}, "shapes-test"))
    image = pages.save(figure, tmp_path, "compared")
    file = tmp_path / "figures" / "compared.png"
    assert image.data == file.read_bytes(), "the notebook shows what is on disk"
    with Image.open(file) as picture:
        assert picture.width > 100 and len(picture.convert("RGB").getcolors(256)) > 10


def test_closing_says_where_files_are_and_how_to_make_them(tmp_path):
    text = pages.closing(experiment(run="no-such-run"), "03_train")
    assert "reports/no-such-run/03_train.ipynb" in text and "params" not in text and str(ROOT) not in text
    assert str(tmp_path) in pages.closing(experiment(reports=str(tmp_path)), "03_train")
