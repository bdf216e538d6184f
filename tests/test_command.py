"""`mmvs WORD ...`: exit statuses, refusals of one line, and every word on a tiny experiment."""

import json
import re
import subprocess
import sys

import pytest
import tiny
import torch
import yaml

from mmvs import __version__, processes
from mmvs.__main__ import app
from mmvs.config import ROOT

WORDS = sorted(
    [command.name or command.callback.__name__ for command in app.registered_commands]
    + [group.name for group in app.registered_groups]
)


@pytest.fixture
def params(tmp_path):
    """The params file of an experiment of which nothing is on disk yet."""
    path = tmp_path / "tiny.yaml"
    clips = {"train_clips": 3, "test_clips": 1, "unseen_clips": 1}
    experiment = tiny.parameters(tmp_path, {"moving_shapes": clips})
    path.write_text(yaml.safe_dump(experiment))
    return path


def test_every_word_explains_itself(capsys):
    assert tiny.command("--help") == 0
    listed = capsys.readouterr().out
    for word in WORDS:
        assert word in listed
        assert tiny.command(word, "--help") == 0
        assert "mmvs" in capsys.readouterr().out


def test_python_m_mmvs_is_the_command_and_starts_without_torch():
    done = subprocess.run(
        [sys.executable, "-m", "mmvs", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.strip() == f"mmvs {__version__}"
    code = "import sys, mmvs.__main__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_from_nothing_to_scores_word_by_word(params, tmp_path, capsys):
    assert tiny.command("prepare", params, "--quiet") == 0
    assert "flow of 3 videos computed" in capsys.readouterr().out
    assert tiny.command("train", params, "--quiet", "--device", "cpu") == 0
    checkpoints = tmp_path / "reports" / "tiny" / "checkpoints"
    assert (checkpoints / "finished.json").exists() and (checkpoints / "best.ckpt").exists()
    capsys.readouterr()
    assert tiny.command("evaluate", params, "--quiet") == 0
    out = capsys.readouterr().out
    assert "moving_shapes-test, mean IoU: all 0." in out and "metrics.json" in out
    samples = checkpoints.with_name("samples.csv")
    samples.unlink()  # as in a fresh clone: git keeps metrics.json alone
    assert tiny.command("evaluate", params, "--quiet") == 0 and samples.exists()


def test_parts_of_the_flow_make_the_whole(params, capsys):
    counts = []
    for part in ("1/2", "2/2", "1/1"):
        assert tiny.command("prepare", params, "--part", part, "--quiet") == 0
        counts.append(re.findall(r"flow of (\d+) videos computed, of (\d+) there", capsys.readouterr().out))
    halves, whole = zip(*counts[:2], strict=True), counts[2]
    for (first, second), (computed, there) in zip(halves, whole, strict=True):
        assert int(first[0]) - int(second[0]) in (0, 1) and first[1] == second[1] == "0"
        assert (computed, int(there)) == ("0", int(first[0]) + int(second[0]))


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/2/3", "-1/2"])
def test_a_part_that_is_none_is_refused(params, part, capsys):
    assert tiny.command("prepare", params, "--part", part) != 0
    assert "expected two numbers from 1/8 to 8/8" in " ".join(
        capsys.readouterr().err.replace("│", "").split()
    )


def test_another_precision_scores_anew_and_near_by(params, tmp_path):
    assert tiny.command("evaluate", params, "--quiet") == 0
    metrics = tmp_path / "reports" / "tiny" / "metrics.json"
    full = json.loads(metrics.read_text())
    values = yaml.safe_load(params.read_text())
    values["evaluation"] = values.get("evaluation", {}) | {"precision": "bfloat16"}
    params.write_text(yaml.safe_dump(values))
    assert tiny.command("evaluate", params, "--quiet") == 0
    half = json.loads(metrics.read_text())
    assert half["provenance"]["weights"] == full["provenance"]["weights"]
    assert half["provenance"]["parameters"]["evaluation"]["precision"] == "bfloat16"
    name = "moving_shapes-test"
    assert half["scores"][name]["all"]["mean_iou"] == pytest.approx(
        full["scores"][name]["all"]["mean_iou"], abs=0.02
    )


def test_evaluate_makes_all_that_it_needs_and_knows_rungs_and_seeds(params, tmp_path):
    assert tiny.command("evaluate", params, "--rung", "B", "--seed", 3, "--quiet") == 0
    assert (tmp_path / "reports" / "tiny" / "ladder" / "B" / "3" / "metrics.json").exists()


def test_evaluate_names_a_video_that_has_no_flow_before_it_trains(params, monkeypatch, capsys):
    tiny.command("prepare", params, "--quiet")
    video = next(params.parent.rglob("train00001.mp4"))
    video.write_bytes(video.read_bytes()[:200])
    monkeypatch.setattr("mmvs.training.fit", lambda *_, **__: pytest.fail("trained"))
    assert tiny.command("evaluate", params, "--quiet") == 1
    assert "no flow for 1 videos (2 others are kept)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, status, reason",
    [
        (["train", "no-such.yaml"], 1, "no such params file"),
        (["train", "params/moving_shapes.yaml", "--rung", "C"], 1, "the ladder is B, B+M"),
        (["train"], 2, "params"),
        (["walk"], 2, "walk"),
        (["train", "params/moving_shapes.yaml", "--device", "abacus"], 2, "unknown device 'abacus'"),
        (["segment", "a.mp4", "x", "--out", "o", "--precision", "int8"], 2, "int8"),
    ],
)
def test_what_cannot_be_used_is_refused_without_a_traceback(words, status, reason, capsys):
    assert tiny.command(*words) == status
    error = " ".join(capsys.readouterr().err.split())
    assert reason in error and "Traceback" not in error


def test_ctrl_c_says_how_to_go_on(params, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmvs.data.catalogue.prepare", stop)
    assert tiny.command("train", params) == 130
    assert f"the same command goes on where it was: python -m mmvs train {params}" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "_device", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="'cuda:2' is not there: this machine has cpu .1., cuda .2."):
        processes.use_device("cuda:2")
    processes.use_device("cuda:1")
    assert processes.device() == torch.device("cuda:1")
    assert processes.layout() == {"accelerator": "gpu", "devices": [1], "num_nodes": 1}
    processes.use_device("cpu")
    assert processes.device() == torch.device("cpu") and processes.layout()["accelerator"] == "cpu"
