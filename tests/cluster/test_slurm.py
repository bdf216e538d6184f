"""A real SLURM of two nodes on this machine: sweeps, trainings on several nodes, jobs that end and go on.

It needs root, slurmd, slurmctld and munged (Debian: apt install slurm-wlm munge), and starts them itself.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import torch
import yaml

from mmvs import config
from mmvs.data.catalogue import prepare

NEEDED = ("slurmctld", "slurmd", "munged", "srun", "sbatch", "squeue")
CONFIGURATION = Path("/etc/slurm/slurm.conf")  # at another place jobs of Snakemake do not find it
NODES = {"n1": 17001, "n2": 17002}


def missing() -> str | None:
    """Why there can be no SLURM here; None where it can start."""
    absent = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: apt install slurm-wlm munge)"
    if os.geteuid():
        return "only root can start SLURM"
    return (
        f"{CONFIGURATION} is there: this machine has a SLURM of its own" if CONFIGURATION.exists() else None
    )


pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Start the daemons; end them afterwards, and leave nothing of them."""
    folder = tmp_path_factory.mktemp("slurm")
    host = socket.gethostname().split(".")[0]
    started = _start_munge()
    parts = ("state", *(f"spool-{node}" for node in NODES))
    for part in parts:
        (folder / part).mkdir()
    nodes = "".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=8000\n"
        for node, port in NODES.items()
    )
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(
        f"""ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/ctld.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdPidFile={folder}/d-%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmdLogFile={folder}/d-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=60
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp
{nodes}PartitionName=all Nodes={",".join(NODES)} Default=YES MaxTime=INFINITE State=UP
"""
    )
    try:
        _run("slurmctld")
        for node in NODES:
            _run("slurmd", "-N", node)
        _wait(lambda: _run("sinfo", "-h", "-o", "%T %D").strip() == "idle 2", 60, "two idle nodes")
        yield folder
    finally:
        subprocess.run(["scancel", "--user", "root"], check=False)
        for name in (*(f"d-{node}.pid" for node in NODES), "ctld.pid"):
            if (folder / name).exists():
                os.kill(int((folder / name).read_text()), signal.SIGTERM)
        CONFIGURATION.unlink()
        for process in started:
            process.terminate()


def _start_munge() -> list[subprocess.Popen]:
    """Start the daemon that vouches for users, unless it runs."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return []
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
    shutil.chown(key, "munge")
    key.chmod(0o400)
    for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(folder).mkdir(exist_ok=True)
        shutil.chown(folder, "munge")
    Path("/run/munge").chmod(0o755)
    command = ["su", "-s", "/bin/sh", "munge", "-c", "exec munged --foreground"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait(lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0, 20, "munge")
    return [process]


def _run(*command: str, **options) -> str:
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin", "OMP_NUM_THREADS": "1"}
    environment |= options.pop("environment", {})
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, **options)
    assert ran.returncode == 0, f"{' '.join(map(str, command))}: {ran.stdout[-2000:]}{ran.stderr[-4000:]}"
    return ran.stdout


def _wait(ready, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def _weights(run: config.Experiment) -> dict[str, torch.Tensor]:
    return torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def _params(folder: Path, run: str, **training) -> Path:
    """A params file of a tiny training; its data are there."""
    values = tiny.parameters(folder, **({"steps": 12, "validate_every": 6, "threads": 1} | training))
    path = folder / f"{run}.yaml"
    path.write_text(yaml.safe_dump(values | {"run": run}))
    prepare(config.load(path), progress=False)
    return path


@pytest.fixture
def profile(tmp_path):
    """The profile of the repository, for jobs of seconds."""
    values = yaml.safe_load((config.ROOT / "profiles/slurm/config.yaml").read_text())
    values |= {"slurm-init-seconds-before-status-checks": 3, "seconds-between-status-checks": 2}
    values["default-resources"] |= {"mem_mb": 1000, "runtime": 20}
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "profile"


def test_a_sweep_runs_as_jobs_and_what_failed_is_repeated_alone(slurm, tmp_path, profile, capsys):
    """6 cells, of which one cannot write its scores."""
    params = _params(tmp_path, "tiny", steps=2, validate_every=2)
    words = ["sweep", params, "--grid", "training.rate=1e-3,1e-4", "--seeds", 3, "--profile", profile]
    in_the_way = tmp_path / "reports/tiny/sweep/rate_0.0001/1/metrics.json"
    in_the_way.mkdir(parents=True)
    assert tiny.command(*words) == 1
    captured = capsys.readouterr()
    assert "failed: rate_0.0001, seed 1: " in captured.out, captured.out + captured.err
    assert captured.err.count(": finished") == 5
    done = (slurm / "jobcomp").read_text().count("JobState=COMPLETED")
    in_the_way.rmdir()
    assert tiny.command(*words) == 0
    captured = capsys.readouterr()
    assert captured.err.count(": finished") == 1 and "failed" not in captured.out
    record = json.loads((tmp_path / "reports/tiny/sweep.json").read_text())
    assert [len(point["scores"]) for point in record["points"].values()] == [3, 3]
    jobs = (slurm / "jobcomp").read_text()
    assert done == 5 and jobs.count("JobState=COMPLETED") == 6 and jobs.count("JobState=FAILED") == 1


def test_two_nodes_train_what_two_processes_train(slurm, tmp_path):
    one, other = (_params(tmp_path, run) for run in ("torchrun", "srun"))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    _run(sys.executable, *torchrun, "-m", "mmvs", "train", "--quiet", one, cwd=config.ROOT)
    # The nodes of this SLURM have names that nothing resolves.
    environment = {"MASTER_ADDR": "127.0.0.1"}
    srun = ["srun", "-N", "2", "-n", "2", "--mem", "1000", sys.executable, "-m", "mmvs", "train", "--quiet"]
    _run(*srun, other, cwd=config.ROOT, environment=environment)
    one, other = (_weights(config.load(path)) for path in (one, other))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_job_that_is_ended_goes_on_and_ends_as_one_that_is_not(slurm, tmp_path):
    whole, ended = (_params(tmp_path, run, steps=150, validate_every=150) for run in ("whole", "ended"))
    _run(sys.executable, "-m", "mmvs", "train", "--quiet", whole, cwd=config.ROOT)
    run = config.load(ended)
    script = tmp_path / "job.sh"
    log = tmp_path / "job.log"
    script.write_text(
        f"#!/bin/sh\n#SBATCH --requeue --open-mode=append --output={log} --mem=1000\ncd {config.ROOT}\n"
        f"exec {sys.executable} -m mmvs train --quiet {ended}\n"
    )
    job = _run("sbatch", "--parsable", str(script)).strip()
    _wait(lambda: (run.folder / "logs/part-000/metrics.csv").exists(), 120, "the first steps of the job")
    _run("scontrol", "requeue", job)  # as a pre-emption: SIGTERM, and after KillWait SIGKILL
    _wait(lambda: (run.folder / "checkpoints/finished.json").exists(), 240, "the end of the job")
    assert "training stopped: " in log.read_text(), log.read_text()
    assert len(list((run.folder / "logs").glob("part-*"))) == 2
    one, other = (_weights(config.load(path)) for path in (whole, ended))
    assert all(torch.equal(one[name], other[name]) for name in one)
