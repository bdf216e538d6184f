"""What was trained before stays usable: fingerprints of params files and keys of checkpoints do not move.

A change that is meant to train anew writes both down anew, and says so in its commit.
"""

import json
from pathlib import Path

import pytest

from mmvs import config
from mmvs.build import build
from mmvs.config import ROOT

PINNED = json.loads(Path(__file__).with_name("pinned.json").read_text())
VOCABULARY = 200  # word pieces of the pinned checkpoints


def test_every_params_file_is_pinned():
    assert sorted(PINNED["fingerprints"]) == sorted(path.name for path in (ROOT / "params").glob("*.yaml"))


@pytest.mark.parametrize("name", PINNED["fingerprints"])
def test_fingerprints_of_params_files(name):
    assert config.load(ROOT / "params" / name).fingerprint() == PINNED["fingerprints"][name]


@pytest.mark.parametrize("cell", PINNED["rungs"])
def test_fingerprints_of_the_ladder(cell):
    rung, seed = cell.split("/")
    experiment = config.load(ROOT / "params" / "moving_shapes.yaml").on_rung(rung, int(seed))
    assert experiment.fingerprint() == PINNED["rungs"][cell]


@pytest.mark.parametrize("run", PINNED["checkpoints"])
def test_keys_and_shapes_of_a_checkpoint(run):
    network = build(config.load(ROOT / "params" / f"{run}.yaml"), VOCABULARY).network
    shapes = {key: "x".join(map(str, value.shape)) for key, value in network.state_dict().items()}
    assert shapes == PINNED["checkpoints"][run]
