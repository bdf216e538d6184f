"""What every network of `mmvs.build` holds, whatever its weights. A new network adds a line to VARIANTS."""

from dataclasses import fields, replace

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from mmvs.build import NETWORKS
from mmvs.config import LADDER, experiment
from mmvs.model.inference import ready_for_inference
from mmvs.schema import Batch, Observed, Prediction, Sentences
from mmvs.segmenter import Segmenter
from mmvs.training.optimisation import NetworkTraining

VARIANTS = {  # network: changes of its model under which it must hold the contract as well
    "multimodal": [{}, LADDER["B"]],
    "published": [
        {},
        {
            "motion_backbone": tiny.NARROW | {"input": "wheel"},
            "quirks": {"masked_keys": True, "gate": True, "dilation": True, "border": True},
        },
    ],
}
WHOLE_LOSS = {"published": {"limit": 1.0}}  # the default cuts gradients where a cosine is near 1
RESNETS = {
    "appearance_backbone": {"name": "resnet50", "weights": None},
    "motion_backbone": {"name": "resnet18", "weights": None},
}

every_network = pytest.mark.parametrize("name", list(NETWORKS))
every_variant = pytest.mark.parametrize(
    "name, changes",
    [
        pytest.param(name, changes, id=f"{name}-{i}")
        for name in NETWORKS
        for i, changes in enumerate(VARIANTS[name])
    ],
)


def assert_same(one: Prediction, other: Prediction, tolerance: float = 1e-4) -> None:
    for field in fields(Prediction):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert left.shape == right.shape, field.name
        assert (left - right).abs().max() <= tolerance * right.abs().max().clamp(min=1), field.name


def one_sentence(batch: Batch, n: int) -> Batch:
    """Sentence n with its clip, as a batch of its own."""
    clip = batch.clip_of_sentence[n : n + 1]
    return replace(
        batch,
        frames=batch.frames[clip],
        flow=batch.flow[clip],
        valid=batch.valid[clip],
        words=batch.words[n : n + 1],
        words_mask=batch.words_mask[n : n + 1],
        clip_of_sentence=torch.zeros(1, dtype=torch.long),
    )


def step_by_step(network: nn.Module, batch: Batch) -> tuple[Observed, Sentences, Tensor, int]:
    """The arguments of `decide`, with every frame observed and every sentence read by itself."""
    observed, clips, length = [], *batch.frames.shape[:2]
    for clip in range(clips):
        for frame in range(length):
            one = batch.frames[clip, frame, None], batch.flow[clip, frame, None]
            observed.append(network.observe(*one, valid=batch.valid[clip]))
    tops = zip(*(frame.tops for frame in observed), strict=True)
    levels = zip(*(frame.levels for frame in observed[batch.target :: length]), strict=True)
    pairs = zip(batch.words, batch.words_mask, strict=True)
    sentences = [network.read(words[None], mask[None]) for words, mask in pairs]
    return (
        Observed(
            tops=[torch.cat(top).unflatten(0, (clips, length)) for top in tops],
            levels=[torch.cat(level) for level in levels],
            size=observed[0].size,
        ),
        Sentences(*(torch.cat([getattr(s, f.name) for s in sentences]) for f in fields(Sentences))),
        batch.clip_of_sentence,
        batch.target,
    )


@pytest.mark.parametrize("frames", [1, 3, 5])
@pytest.mark.parametrize("size", [(32, 48), (40, 40), (33, 47)])
@every_variant
def test_any_size_and_any_number_of_frames(name, changes, size, frames):
    batch = tiny.batch(frames=frames, height=size[0], width=size[1])
    network = tiny.network(name, **changes)
    prediction, words = network(batch), network.read(batch.words, batch.words_mask)
    assert prediction.logits.shape == prediction.coarse.shape == prediction.decoder.shape == (4, *size)
    assert prediction.appearance.shape == prediction.motion.shape and len(prediction.appearance) == 4
    assert prediction.sentence.shape == prediction.appearance.shape[:2]
    assert prediction.attention.shape[:2] == words.mask.shape and words.mask.sum() == 4 * 7
    assert prediction.attention.sum(1).allclose(torch.ones(1), atol=1e-5)
    assert all(value.isfinite().all() for value in vars(prediction).values())


@torch.no_grad()
@every_variant
def test_padding_words_do_not_change_the_output(name, changes):
    network, batch = tiny.network(name, **changes), tiny.batch()
    padded, plain = tiny.with_padding(batch), network(batch)
    assert network(padded).logits.allclose(plain.logits, atol=1e-5)
    assert not network(padded).attention[:, 7:].any(), "no cell attends to padding"
    unmasked = replace(padded, words_mask=torch.ones(4, 10, dtype=torch.bool))
    assert not network(unmasked).logits.allclose(plain.logits, atol=1e-5)


@torch.no_grad()
@every_variant
def test_a_batch_equals_its_sentences_one_by_one(name, changes):
    """Sentences share their clip: here they also lie in mixed order."""
    network, batch = tiny.network(name, **changes), tiny.batch()
    batch.clip_of_sentence = torch.tensor([1, 0, 1, 0])
    batch.words_mask[1, 4:] = False
    together = network(batch)
    for n in range(4):
        expected = Prediction(**{key: value[n, None] for key, value in vars(together).items()})
        assert_same(network(one_sentence(batch, n)), expected)


@torch.no_grad()
@pytest.mark.parametrize("target", [0, 2])
@every_variant
def test_observe_read_and_decide_equal_forward(name, changes, target):
    network, batch = tiny.network(name, **changes), replace(tiny.batch(), target=target)
    for parameter in network.parameters():
        parameter.mul_(3 if parameter.ndim > 1 else 1)  # fresh weights let little of the flow through
    batch.valid[:, :8] = False
    assert_same(network.decide(*step_by_step(network, batch)), network(batch))


@torch.no_grad()
@every_variant
def test_segment_equals_the_logits_of_decide(name, changes):
    network, batch = tiny.network(name, **changes), tiny.batch()
    arguments = step_by_step(network, batch)
    logits = network.segment(*arguments)
    assert logits.shape == (4, 1, 32, 48)
    assert logits[:, 0].allclose(network.decide(*arguments).logits, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("target", [0, 1, 2])
@every_network
def test_the_target_may_lie_anywhere(name, target):
    """The target is told from the other frames; and these from each other, but for the published network."""
    network, batch = tiny.network(name), replace(tiny.batch(), target=target)
    batch.flow = batch.flow[:, :1].expand_as(batch.flow)
    one, other = (frame for frame in range(3) if frame != target)

    def exchanged(a: int, b: int) -> Batch:
        order = [{a: b, b: a}.get(frame, frame) for frame in range(3)]
        return replace(batch, frames=batch.frames[:, order])

    expected = network(batch).logits
    order_is_seen = not network(exchanged(one, other)).logits.allclose(expected, atol=1e-5)
    assert order_is_seen == (name != "published")
    for frame in (one, other):
        assert not network(exchanged(target, frame)).logits.allclose(expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("part", ["frames", "flow", "words"])
@every_network
def test_every_input_matters(name, part):
    network, batch, other = tiny.network(name), tiny.batch(), tiny.batch(seed=1)
    logits = network(replace(batch, **{part: getattr(other, part)})).logits
    assert not logits.allclose(network(batch).logits, atol=1e-5)


@every_network
def test_every_parameter_receives_gradient(name):
    built, batch = tiny.built(name, loss=WHOLE_LOSS.get(name)), tiny.batch()
    built.objective(built.network(batch), batch)["loss"].backward()
    parameters = built.network.named_parameters()
    assert [key for key, p in parameters if p.grad is None or not p.grad.abs().sum() > 0] == []


@every_network
def test_it_overfits_one_batch(name):
    built, batch = tiny.built(name), tiny.batch(clips=1)
    batch.masks[1] = batch.masks[1].flip(1)  # the sentence alone decides
    optimizer = torch.optim.AdamW(built.network.parameters(), 5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        built.objective(built.network(batch), batch)["loss"].backward()
        optimizer.step()
    mask, truth = built.network(batch).logits > 0, batch.masks.bool()
    assert ((mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2))).min() > 0.9


@every_variant
def test_every_parameter_is_in_one_group_or_the_rest(name, changes):
    run = experiment(
        model=tiny.model(name, **changes), training={"backbone_rate": 1, "language_rate": 2, "rate": 3}
    )
    training = NetworkTraining(run, tiny.VOCABULARY)
    groups = training.network.parameter_groups()
    assert set(groups) == {"backbones", "language"}
    members = [id(parameter) for group in groups.values() for parameter in group]
    own = {id(parameter): key for key, parameter in training.network.named_parameters()}
    assert len(members) == len(set(members)) and set(members) < set(own), "no parameter twice, none of others"
    assert all(groups.values()), "no group is empty"

    rates = {
        own[id(parameter)]: group["initial_lr"]
        for group in training.configure_optimizers()["optimizer"].param_groups
        for parameter in group["params"]
    }
    assert set(rates) == set(own.values())
    for key, rate in rates.items():
        encoder = key.startswith(("appearance.", "motion."))
        assert rate == (1 if encoder else 2 if key.startswith("language.bert.") else 3), key


@torch.no_grad()
@pytest.mark.parametrize("backbones", [{}, RESNETS], ids=["narrow", "resnets"])
@every_variant
def test_ready_for_inference_gives_the_same_numbers(name, changes, backbones):
    network, batch = tiny.network(name, **(changes | backbones)), tiny.batch(clips=1, height=64, width=64)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh statistics and weights would do nothing
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.3)
            nn.init.uniform_(module.weight, 0.7, 1.3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    quick = ready_for_inference(network)
    expected, logits = network(batch).logits, quick(batch).logits
    assert (expected - logits).abs().max() < 1e-4 * expected.abs().max().clamp(min=1)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert all(value.is_contiguous() for value in after.values()), "it can still be saved"
    assert not [m for m in quick.modules() if isinstance(m, nn.BatchNorm2d)]
    assert quick.language is network.language, "the largest part is not copied"


@torch.no_grad()
@every_variant
def test_saved_weights_are_the_whole_network(name, changes, tmp_path):
    network, batch = tiny.network(name, **changes), tiny.batch()
    other = tiny.network(name, seed=1, **changes)
    assert not other(batch).logits.allclose(network(batch).logits, atol=1e-4)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert list(other.state_dict()) == list(network.state_dict())
    assert_same(other(batch), network(batch), tolerance=0)


@every_network
def test_any_video_is_segmented(name, tmp_path):
    segmenter = Segmenter(tiny.run(tmp_path, name=name))
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)
    answers = list(segmenter.segment(frames, ["the red circle", "a big square"]))
    assert [answer.masks.shape for answer in answers] == [(2, 48, 64)] * 4
