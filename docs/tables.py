"""The tables of README and docs/results.md, from reports/moving_shapes: python docs/tables.py [README.md ...]

A test holds that the pages have these very lines.
"""

import json
import sys
from collections.abc import Callable
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
    ("flow alone, test", "flow", TEST),
    ("the target frame alone, test", "image", TEST),
    ("frames and flow, the window backwards", "video+flow", f"{TEST}-backwards"),
    ("frames and flow, sentences of other clips", "video+flow", f"{TEST}-shuffled"),
]
SYSTEMS = {
    "the target frame alone": "image",
    "frames alone": "video",
    "flow alone": "flow",
    "frames and flow": "video+flow",
}
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


def gain(row: pd.Series) -> str:
    """A row of worth_of_flow: the mean gain ± half of its 95 % interval."""
    return f"{row.gain:+.2f}" + (f" ± {row.half:.2f}" if row.seeds > 1 else "")


def table(head: str, rows: dict[str, list[str]]) -> list[str]:
    """Lines of Markdown, a column a kind."""
    lines = [f"| {head} | {' | '.join(KINDS)} |", "|---|" + "---:|" * len(KINDS)]
    return lines + [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]


def of_readme() -> list[str]:
    """Mean IoU of the median seed."""
    content, steps = own_budget()
    rows = {}
    for label, system, data_set in ROWS:
        if data_set.endswith("-backwards") or system in ("flow", "image"):  # README is short
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
    of_iou["what flow adds, test"] = [gain(worth.loc[kind]) for kind in KINDS]
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


def of_budgets() -> list[str]:
    """Systems by steps, on all videos."""
    return _of_systems(lambda frame: frame["share"] == 1, lambda steps, share: f"{steps:,} steps")


def of_shares() -> list[str]:
    """Systems by the part of the videos that they were trained on, in as many steps."""
    return _of_systems(
        lambda frame: frame["steps"].isin(frame.loc[frame["share"] < 1, "steps"]),
        lambda steps, share: f"{share:.0%} of the videos",
    )


def _of_systems(chosen: Callable[[pd.DataFrame], pd.Series], name: Callable[[int, float], str]) -> list[str]:
    """Rows of systems, and what flow adds, by chosen budgets and their names: all sentences, and order."""
    content, _ = own_budget()
    lines: list[str] = []
    for head, kind, measure in (
        ("mean IoU, all sentences", "all", "mean_iou"),
        ("temporal-order, right object selected", "temporal-order", SELECTION),
    ):
        frame = tables.system_cells(content, TEST, measure)
        frame = frame[(frame["kind"] == kind) & chosen(frame)]
        wide = frame.groupby(["steps", "share", "system"])["value"].agg(lambda own: spread(list(own)))
        budgets = sorted({key[:2] for key in wide.index})
        lines += [f"| {head} | {' | '.join(name(*budget) for budget in budgets)} |"]
        lines += ["|---|" + "---:|" * len(budgets)]
        for label, system in SYSTEMS.items():
            values = (wide.get((*budget, system), "") for budget in budgets)
            lines.append(f"| {label} | {' | '.join(values)} |")
        gains = {
            (steps, share): gain(row) for (steps, share, _), row in tables.worth_of_flow(frame).iterrows()
        }
        lines += [f"| what flow adds | {' | '.join(gains.get(budget, '') for budget in budgets)} |", ""]
    return lines[:-1]


def of_ladder() -> list[str]:
    """Mean IoU on test of every rung that is trained, and of the published network."""
    content = json.loads(FOLDER.ladder.read_text())
    rows = {}
    for rung, seeds in content.items():
        values = [cell[TEST] for cell in seeds.values()]
        name = f"{rung} ({len(values)} seed{'s' * (len(values) > 1)})"
        rows[name] = [spread([value[kind]["mean_iou"] for value in values]) for kind in KINDS]
    published = RunFolder(FOLDER.path.parent / "moving_shapes_published")
    if published.is_scored():
        scores = published.result().scores[TEST]
        rows["the published network (1 seed)"] = [f"{scores[kind]['mean_iou']:.2f}" for kind in KINDS]
    return table("mean IoU, test", rows)


def of_pages() -> list[str]:
    """All tables of docs/results.md."""
    return [*of_results(), "", *of_budgets(), "", *of_shares(), "", *of_ladder()]


PAGES = {"README.md": of_readme, "docs/results.md": of_pages}


def main() -> None:
    """Print the tables of the pages, or of those that are named."""
    for page in sys.argv[1:] or PAGES:
        print(f"{page}\n", *PAGES[page](), "", sep="\n")


if __name__ == "__main__":
    main()
