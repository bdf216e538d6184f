"""The tables of README and docs/results.md, from reports/moving_shapes: python docs/tables.py [README.md ...]

A test holds that the pages have these very lines.
"""

import json
import sys
from pathlib import Path

import pandas as pd

from mmvs import config
from mmvs.report import tables
from mmvs.run_folder import RunFolder
from mmvs.shapes import oracles

ROOT = Path(__file__).parent.parent
FOLDER = RunFolder(ROOT / "reports" / "moving_shapes")
KINDS = ["all", "appearance", "motion", "both", "temporal-constant", "temporal-set", "temporal-order"]
TEST, UNSEEN = "moving_shapes-test", "moving_shapes-unseen"
ROWS = [  # label, system, what it is scored on
    ("frames and flow, test", "video+flow", TEST),
    ("frames and flow, unseen combinations", "video+flow", UNSEEN),
    ("frames alone, test", "video", TEST),
    ("frames and flow, the window backwards", "video+flow", f"{TEST}-backwards"),
    ("frames and flow, sentences of other clips", "video+flow", f"{TEST}-shuffled"),
]
SELECTION = "selection_accuracy"


def own_budget() -> tuple[dict, str]:
    """explicit_motion.json, and its steps of the run itself."""
    experiment = config.load(ROOT / "params" / "moving_shapes.yaml")
    return json.loads(FOLDER.explicit_motion.read_text()), str(experiment.training.steps)


def cells(system: str, data_set: str, measure: str) -> dict[str, list[float]]:
    """Values of all seeds by kind, at the run's own steps; of the first seed alone where others have none."""
    content, steps = own_budget()
    seeds = content[system][steps]
    there = [seed[data_set] for seed in seeds.values() if data_set in seed]
    return {kind: [seed[kind][measure] for seed in there] for kind in KINDS}


def median_seed(system: str = "video+flow") -> str:
    """The seed whose mean IoU on test is the median of all."""
    content, steps = own_budget()
    values = {seed: scores[TEST]["all"]["mean_iou"] for seed, scores in content[system][steps].items()}
    return sorted(values, key=values.get)[len(values) // 2]


def spread(values: list[float]) -> str:
    """Mean ± half of the 95 % interval; one value alone as it is."""
    series = pd.Series(values)
    return f"{series.mean():.2f}" + (f" ± {tables.half_width(series):.2f}" if len(values) > 1 else "")


def table(head: str, rows: dict[str, list[str]]) -> list[str]:
    """Lines of Markdown, a column a kind."""
    lines = [f"| {head} | {' | '.join(KINDS)} |", "|---|" + "---:|" * len(KINDS)]
    return lines + [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]


def of_readme() -> list[str]:
    """Mean IoU of the median seed."""
    content, steps = own_budget()
    rows = {}
    for label, system, data_set in ROWS:
        if data_set.endswith("-backwards"):
            continue
        seeds = content[system][steps]
        seed = median_seed(system)
        scores = seeds[seed if data_set in seeds[seed] else "0"][data_set]
        rows[label] = [f"{scores[kind]['mean_iou']:.2f}" for kind in KINDS]
    return table("", rows)


def of_results() -> list[str]:
    """Mean IoU and selection of all seeds, what flow is worth, and what cheaper knowledge reaches."""
    of_iou = {label: [*map(spread, cells(system, on, "mean_iou").values())] for label, system, on in ROWS}
    content, steps = own_budget()
    worth = tables.worth_of_flow(tables.system_cells(content, TEST)).loc[(int(steps), 1.0)]
    of_iou["what flow adds, test"] = [
        f"{row.gain:+.2f}" + (f" ± {row.half:.2f}" if row.seeds > 1 else "")
        for row in map(worth.loc.__getitem__, KINDS)
    ]
    of_selection = {
        label: [*map(spread, cells(system, on, SELECTION).values())]
        for label, system, on in ROWS
        if on not in (UNSEEN, f"{TEST}-shuffled")
    }
    settings = config.load(ROOT / "params" / "moving_shapes.yaml").data.moving_shapes
    floors = oracles.selection(settings, "test", settings.test_clips)
    for name in floors:
        of_selection[f"a chooser that knows {name}"] = [f"{floors.loc[kind, name]:.2f}" for kind in KINDS]
    chance = cells("video+flow", TEST, "selection_chance")
    of_selection["by chance"] = [f"{values[0]:.2f}" for values in chance.values()]
    return [*table("mean IoU", of_iou), "", *table("right object selected", of_selection)]


PAGES = {"README.md": of_readme, "docs/results.md": of_results}


def main() -> None:
    """Print the tables of the pages, or of those that are named."""
    for page in sys.argv[1:] or PAGES:
        print(f"{page}\n", *PAGES[page](), "", sep="\n")


if __name__ == "__main__":
    main()
