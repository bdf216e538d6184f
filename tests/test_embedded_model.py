"""The model that comes with the repository does what it is said to do, on clips that it never saw."""

import pytest

from mmvs.config import EMBEDDED, resolve
from mmvs.data import catalogue
from mmvs.evaluation import evaluate
from mmvs.trained import TrainedNetwork

CLIPS = 40


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Of the first test clips, as they are and under both controls."""
    folder = tmp_path_factory.mktemp("embedded")
    trained = TrainedNetwork.from_run(EMBEDDED)
    own = trained.experiment
    few = {"train_clips": 1, "test_clips": CLIPS, "unseen_clips": 1}
    data = {
        "evaluate_on": ["moving_shapes-test"],
        "roots": {"moving_shapes": str(folder / "data")},
        "moving_shapes": own.data.moving_shapes.model_copy(update=few),
    }
    update = {
        "reports": str(folder / "reports"),
        "data": own.data.model_copy(update=data),
        "flow": own.flow.model_copy(update={"root": str(folder / "flow")}),
    }
    experiment = own.model_copy(update=update)
    catalogue.prepare(experiment, progress=False)
    return evaluate(TrainedNetwork(experiment, trained.network, trained.tokenizer), progress=False).scores


def test_it_finds_what_sentences_describe(scores):
    of_kind = scores["moving_shapes-test"]
    assert of_kind["all"]["mean_iou"] > 0.75
    assert of_kind["appearance"]["mean_iou"] > 0.65 and of_kind["motion"]["mean_iou"] > 0.85


def test_it_reads_the_sentence(scores):
    assert scores["moving_shapes-test-shuffled"]["all"]["mean_iou"] < 0.25


def test_it_reads_which_motion_came_first(scores):
    """Half is what the set of motions tells; backwards, the look-alike with the reverse order fits."""
    kept, turned = (
        scores[name]["temporal-order"]["selection_accuracy"]
        for name in ("moving_shapes-test", "moving_shapes-test-backwards")
    )
    assert kept > 0.9 and turned < 0.2


def test_it_is_small():
    assert sum(file.stat().st_size for file in resolve(EMBEDDED).rglob("*") if file.is_file()) < 4e6
