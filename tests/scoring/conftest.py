"""Tiny data sets, submissions to them, and what the public evaluation code says of these.

trees.tar.xz holds invented videos, masks and sentences in the layouts of MeViS, Ref-YouTube-VOS and
Ref-DAVIS17. expected.json of each: the numbers of MeViS's script and of the DAVIS 2017 tool, and what they do
when `faults` break a submission.
"""

import json
import shutil
from pathlib import Path

import pytest

from mmvs.scoring import Request, score

SPLITS = {"mevis": "valid_u", "ref-youtube-vos": "train", "ref-davis17": "valid"}


class Tree:
    """One of the data sets, and a submission to it that may be changed."""

    def __init__(self, root, folder, submission):
        self.root, self.data_set, self.split = root, root.name, SPLITS[root.name]
        self.expected = json.loads((root / "expected.json").read_text())
        self.submission = folder / submission
        shutil.copytree(root / submission, self.submission)

    def score(self, predictions=None, **options):
        options = {"progress": False, "workers": 1} | options
        request = Request(predictions or self.submission, self.root, self.data_set, self.split, **options)
        return score(request)

    def damage(self, case, below=""):
        """Delete and replace what a case of `faults` says."""
        for name in case["delete"]:
            path = self.submission / below / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, source in case["replace"].items():
            shutil.copy(self.root / source, self.submission / below / name)


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    shutil.unpack_archive(Path(__file__).with_name("trees.tar.xz"), folder)
    return folder


@pytest.fixture
def tree(trees, tmp_path):
    """tree(data set, submission): a Tree."""
    return lambda data_set, submission="predictions": Tree(trees / data_set, tmp_path, submission)


@pytest.fixture
def same():
    """same(numbers, expected): every number of `expected` is there, within 1e-9."""
    return _same


def _same(numbers, expected, place=""):
    if isinstance(expected, dict):
        for key in expected.keys() - {"what", "joining", "note"}:
            _same(numbers[key], expected[key], f"{place}/{key}")
    elif isinstance(expected, list):
        assert len(numbers) == len(expected), place
        for i, pair in enumerate(zip(numbers, expected, strict=True)):
            _same(*pair, f"{place}/{i}")
    elif isinstance(expected, float):
        assert numbers == pytest.approx(expected, abs=1e-9), place
    else:
        assert numbers == expected, place
