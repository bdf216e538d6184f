"""docs/your-data.md: its commands run as they stand there, on generated videos, and print what it says."""

import re
import shlex

import numpy as np
import own_videos
import pytest
import tiny
import yaml
from own_videos import FRAMES, SIZE

from mmvs.config import ROOT

TEXT = (ROOT / "docs" / "your-data.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
OUTPUT = "".join(re.findall(r"```\n(data/own: .*?)```", TEXT, re.S))
SENTENCES = re.search(r"```csv\n(.*?)```", TEXT, re.S)[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder as the page begins with, and as its reader has labelled it."""
    for name in ("kitchen", "street"):
        own_videos.film(tmp_path / "clips" / f"{name}.mp4")
    names = [f"{t:05d}" for t in range(FRAMES)]
    own_videos.pictures(tmp_path / "clips" / "yard", [f"{name}.jpg" for name in names])
    own_videos.masks(tmp_path / "masks" / "yard", [f"{name}.png" for name in names[:4]])
    (tmp_path / "sentences.csv").write_text(SENTENCES)
    (tmp_path / "annotations.xml").write_text(annotations())
    values = yaml.safe_load((ROOT / "params" / "own.yaml").read_text())
    values["data"] |= {"size": 32, "stride": 1}  # the page's commands, in seconds
    values["training"] |= {"steps": 2, "batch": 2, "warmup": 1, "validate_every": 2}
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "own.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setattr("mmvs.config.part.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def annotations() -> str:
    """Four frames of both films, as two projects' tasks of CVAT."""
    tasks, tracks = [], []
    for task, name in enumerate(("kitchen", "street")):
        size = f"<original_size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></original_size>"
        tasks.append(f"<task><id>{task}</id><source>{name}.mp4</source>{size}</task>")
        for label, top in (("1", 8), ("2", 20)):
            shapes = "".join(polygon(t, top) for t in (0, 3))  # the two between are interpolated
            tracks.append(f'<track id="{label}" label="{label}" task_id="{task}">{shapes}</track>')
    meta = f"<meta><project><tasks>{''.join(tasks)}</tasks></project></meta>"
    return f"<annotations>{meta}{''.join(tracks)}</annotations>"


def polygon(t: int, top: int) -> str:
    rows, columns = np.nonzero(own_videos.square(t, top))
    y, x, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    points = f"{x},{y};{right},{y};{right},{bottom};{x},{bottom}"
    return f'<polygon frame="{t}" outside="0" keyframe="1" points="{points}"/>'


def test_every_command_runs_and_prints_what_the_page_says(place, capsys):
    printed, statuses = "", []
    for line in COMMANDS:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "mmvs"], line
        statuses.append(tiny.command(*words[3:]))
        out = capsys.readouterr().out
        printed += out if words[3] == "new-data" else ""
    assert printed == OUTPUT
    assert statuses == [1, 1, 0, 0, 0, 0, 0]  # at first something is missing
    assert (place / "reports/own/metrics.json").is_file() and (place / "results/overlay.mp4").is_file()
