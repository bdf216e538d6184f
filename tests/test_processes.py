"""Several processes on one experiment: they wait for each other, share the clips, and draw apart."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from filelock import FileLock

from mmvs import config, processes
from mmvs.data.catalogue import prepare
from mmvs.processes import one_at_a_time
from mmvs.shapes.writing import write
from mmvs.training import fit

HOLDS = """
import sys, time
from pathlib import Path
from mmvs.processes import one_at_a_time
with one_at_a_time(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(float(sys.argv[2]))
    Path(sys.argv[1]).with_name("done").touch()
"""


def holder(lock, seconds) -> subprocess.Popen:
    """Another process that has the lock, and keeps it for some seconds."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(lock), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    return other


def test_the_second_waits_for_the_first_and_says_so(tmp_path, capsys):
    lock = tmp_path / "work" / "lock"
    other = holder(lock, 0.5)
    assert not (tmp_path / "work" / "done").exists()
    with one_at_a_time(lock):
        assert (tmp_path / "work" / "done").exists()
    assert f"another process is at work on {tmp_path / 'work'}" in capsys.readouterr().err
    assert other.wait() == 0
    with one_at_a_time(lock):
        pass
    assert not capsys.readouterr().err


def test_neither_a_killed_process_nor_an_error_leaves_the_lock(tmp_path):
    other = holder(tmp_path / "lock", 60)
    other.kill()
    other.wait()
    with pytest.raises(KeyError), one_at_a_time(tmp_path / "lock"):
        raise KeyError
    FileLock(tmp_path / "lock").acquire(timeout=0)  # Timeout where it is still held


def test_where_no_lock_can_be_made_nobody_waits(tmp_path):
    (tmp_path / "file").touch()
    with one_at_a_time(tmp_path / "file" / "lock"):  # a folder that cannot be: as one that is read-only
        pass


def test_a_process_knows_its_place(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert processes.rank() == 0 and processes.layout() == {
        "accelerator": "auto",
        "devices": 1,
        "num_nodes": 1,
    }
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert processes.device() == torch.device("cuda:0")
    for name, value in {"RANK": 7, "LOCAL_RANK": 3, "LOCAL_WORLD_SIZE": 4, "GROUP_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    assert processes.rank() == 7 and processes.layout() == {
        "accelerator": "auto",
        "devices": 4,
        "num_nodes": 2,
    }
    assert processes.device() == torch.device("cuda:3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processes.device() == torch.device("cpu")


def parameters(folder: Path) -> dict:
    """A tiny experiment of which nothing is on disk yet."""
    return tiny.parameters(folder, {"stride": 3}, steps=9, validate_every=9, threads=1) | {"run": "two"}


def test_data_flow_and_training_are_begun_by_one_job_at_a_time(tmp_path, capsys):
    run = config.experiment(**parameters(tmp_path))
    data, flow = tmp_path / "data", tmp_path / "flow" / "moving_shapes"
    for begin, lock, folder, product in (
        (lambda: write(data, run.data.moving_shapes, False), tmp_path / ".data.lock", data, "*.json"),
        (lambda: prepare(run, False), flow / ".lock", flow, "*.h5"),
        (lambda: fit(run, False), run.folder / "checkpoints.lock", run.folder, "finished.json"),
    ):
        with ThreadPoolExecutor() as pool:
            with one_at_a_time(lock):
                job, messages, end = pool.submit(begin), "", time.monotonic() + 60
                while "waiting for it" not in messages:
                    assert time.monotonic() < end and not job.done(), f"{lock} stops nobody"
                    time.sleep(0.02)
                    messages += capsys.readouterr().err
                assert not list(folder.rglob(product))
            job.result()
        assert list(folder.rglob(product))


def test_torchrun_trains_from_nothing(tmp_path):
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(parameters(tmp_path)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*torchrun, "-m", "mmvs", "train", str(tmp_path / "two.yaml")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]

    run = config.load(tmp_path / "two.yaml")
    trained = fit(run, progress=False)
    assert (trained.steps, trained.processes) == (9, 2)  # loaded: it is finished
    assert [part.name for part in (run.folder / "logs").glob("part-*")] == ["part-000"]


def test_parameters_that_take_part_in_nothing_stop_no_process(tmp_path):
    """Those of the authors' network that its alignment loss alone reads."""
    path = tmp_path / "two.yaml"
    values = parameters(tmp_path) | {"model": tiny.model("published", alignment=False).model_dump()}
    path.write_text(yaml.safe_dump(values))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*torchrun, "-m", "mmvs", "train", "--quiet", str(path)]
    ran = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert fit(config.load(path), progress=False).steps == 9


@pytest.mark.parametrize(
    ("two", "one", "but", "apart"),
    [
        # Each process keeps running means of its own batches.
        (
            {"training": {"scale_rate": "sqrt"}, "model": {"dropout": 0.1}},
            {"training": {"accumulate": 2, "scale_rate": "sqrt"}, "model": {"dropout": 0.1}},
            ("running",),
            1e-5,
        ),
        # As many sentences in each process, and no loss that compares those of a batch. Nothing but rounding
        # is left; of a bias before a normalisation, whose gradient is 0, AdamW makes steps.
        (
            {
                "training": {"shared_norms": True},
                "model": {"alignment": False},
                "data": {"sentences_per_clip": 1},
            },
            {"training": {"batch": 4}, "model": {"alignment": False}, "data": {"sentences_per_clip": 1}},
            ("project.bias", "norm_words.running_mean"),
            1e-4,
        ),
    ],
    ids=["accumulate", "shared_norms"],
)
def test_two_processes_train_what_one_does_of_their_batches(tmp_path, two, one, but, apart):
    weights = {}
    for count, changes in ((2, two), (1, one)):
        path = tmp_path / f"{count}.yaml"
        values = tiny.parameters(tmp_path, {"stride": 3}, steps=6, validate_every=6, threads=1)
        for part, change in changes.items():
            values[part] |= change
        path.write_text(yaml.safe_dump(values | {"run": f"of-{count}"}))
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        words = [
            sys.executable,
            *(torchrun if count > 1 else []),
            "-m",
            "mmvs",
            "train",
            "--quiet",
            str(path),
        ]
        ran = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-4000:]
        weights[count] = fit(config.load(path), progress=False).network.state_dict()
    compared = [name for name in weights[1] if not any(part in name for part in ("num_batches", *but))]
    assert compared
    for name in compared:
        torch.testing.assert_close(weights[1][name], weights[2][name], rtol=1e-3, atol=apart, msg=name)


def test_one_two_and_four_processes_score_the_same(tmp_path):
    """An evaluation of 7 clips, in batches of 2: of four processes none has more than one."""
    path = tmp_path / "two.yaml"
    clips = {"moving_shapes": {"train_clips": 3, "test_clips": 3, "unseen_clips": 1}}
    values = tiny.parameters(tmp_path, {"stride": 3} | clips, steps=3, validate_every=3, threads=1)
    path.write_text(yaml.safe_dump(values | {"run": "two", "evaluation": {"batch": 2}}))
    run = config.load(path)
    folder, found = run.folder, []
    for count in (1, 2, 4):
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        if count == 1:
            torchrun = []
            prepare(run, progress=False)
            fit(run, progress=False)
        words = [sys.executable, *torchrun, "-m", "mmvs", "evaluate", str(path)]
        ran = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-4000:]
        metrics, table = folder / "metrics.json", folder / "samples.csv"
        found.append((json.loads(metrics.read_text())["scores"], table.read_text()))
        assert ran.stdout.count(str(metrics)) == 1, "one process tells"
        metrics.unlink()
    assert found[0] == found[1] == found[2]
