"""Where a number came from: parameters, code, versions, data, machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import resource
import subprocess
from typing import Any

import torch

from mmvs.config import ROOT, Experiment
from mmvs.run_folder import Provenance

_PACKAGES = (
    "torch torchvision transformers lightning numpy opencv-python opencv-python-headless av h5py".split()
)


def provenance(
    experiment: Experiment, device: str, wall_seconds: dict[str, float], command: str, **fingerprints: Any
) -> Provenance:
    """All that is needed to repeat a result.

    wall_seconds  stage ("training", "evaluation") → seconds
    command       the shell command that repeats it
    fingerprints  data_fingerprint, flow_fingerprint, weights and, where there are any, samples_from,
                  training_processes and skipped_batches
    """
    return Provenance(
        command=command,
        run=experiment.run,
        seed=experiment.seed,
        fingerprint=experiment.fingerprint(),
        **fingerprints,
        parameters=experiment.model_dump(mode="json"),
        **git_state(),
        python=platform.python_version(),
        versions={name: version for name in _PACKAGES if (version := _version(name))},
        device=device,
        cpu=torch.backends.cpu.get_cpu_capability(),
        wall_seconds={stage: round(seconds, 1) for stage, seconds in wall_seconds.items()},
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def git_state() -> dict[str, Any]:
    """The commit, and whether tracked code differs from it (reports do not count); None outside git."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!reports")
    return {"git_commit": commit, "git_dirty": None if commit is None else bool(changed)}


def _git(*words: str) -> str | None:
    try:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
