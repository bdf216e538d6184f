"""The published network equals the authors' code, reads their files and has their quirks."""

import pickle
from dataclasses import replace
from functools import partial

import pytest
import tiny
import torch
from torch import nn
from transformers import BertConfig

from benchmarks.published_plain import Whole
from mmvs.build import build
from mmvs.config import ConfigError, Published, PublishedLoss, experiment
from mmvs.losses import Objective
from mmvs.model.network import Network
from mmvs.model.recompute import recomputed
from mmvs.published.encoders import hold_resolution
from mmvs.published.network import RELEASED, PublishedNetwork
from mmvs.published.objective import PublishedObjective
from mmvs.published.released import their_name
from mmvs.schema import Batch

network = partial(tiny.network, "published")
READER = {"name": "small", "width": 16, "layers": 1, "heads": 2, "max_words": 12}


class Pair:
    """The network as released but for a small BERT, and the plain one with the same weights."""

    def __init__(self):
        torch.manual_seed(0)
        bert = BertConfig(
            vocab_size=tiny.VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=12,
        )  # fmt: skip
        self.plain = Whole(bert).eval()
        model = Published(**{**RELEASED.model_dump(), "language": READER})
        self.ours = PublishedNetwork(model, tiny.VOCABULARY).eval()
        self.ours.load_released(self.plain.state_dict())
        frames, flow = torch.randn(2, 2, 3, 3, 64, 96)
        attention = torch.ones(2, 9, dtype=torch.long)
        attention[0, 6:] = 0
        self.inputs = (frames, flow, torch.randint(0, tiny.VOCABULARY, (2, 9)), attention)
        self.mask = torch.zeros(2, 64, 96)
        self.mask[:, 10:40, 20:70] = 1


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


def test_the_savings_change_neither_logits_nor_losses_nor_gradients(pair):
    outputs = pair.plain(*pair.inputs)
    expected = pair.plain.losses(outputs, pair.mask)
    sum(expected.values()).backward()
    prediction = pair.ours.decide(*pair.ours.as_observed(*pair.inputs))
    batch = Batch(None, None, pair.mask, None, None, None, None, 2, [], [])
    terms = PublishedObjective(PublishedLoss(limit=1), alignment=True)(prediction, batch)
    terms["loss"].backward()

    assert (prediction.logits - outputs[0][:, 0]).abs().max() < 1e-4 * outputs[0].std()
    with torch.no_grad():
        assert torch.equal(pair.ours(*pair.inputs)[:, 0], prediction.logits)
    for name, term in expected.items():
        assert terms[name].item() == pytest.approx(term.item(), rel=1e-5), name
    theirs = {name: p.grad for name, p in pair.plain.named_parameters()}
    for name, parameter in pair.ours.named_parameters():
        gradient = theirs[their_name(name)].reshape(parameter.shape)
        apart = (parameter.grad - gradient).norm()
        assert apart <= 2e-3 * gradient.norm() + 1e-7, name


def test_every_weight_of_theirs_is_used_or_known_not_to_be(pair):
    released = pair.plain.state_dict()
    released["Languagemodel.Languagemodel.embeddings.position_ids"] = torch.arange(12)[
        None
    ]  # older transformers
    pair.ours.load_released(released)
    one_copy = {name: value for name, value in released.items() if not name.startswith("model.")}
    pair.ours.load_released(one_copy)
    pair.ours.load_released({f"module.{name}": value for name, value in one_copy.items()})
    for change, message in [
        ({"surprise.weight": torch.ones(2)}, "1 keys do not fit:\n  unknown: surprise.weight"),
        ({"x.pooler.weight": torch.ones(2)}, "unknown: x.pooler.weight"),
        ({"x.spatial_pos": torch.ones(2)}, "unknown: x.spatial_pos"),
        ({"model.backbone.fc.weight": torch.ones(2)}, r"unknown: model\.backbone\.fc\.weight"),
        ({f"more.{i}": torch.ones(2) for i in range(40)}, r"(?s)40 keys.*unknown: more\.39$"),
        ({"Flowmodel.bn1.bias": torch.ones(2)}, r"shape \(2,\), expected \(64,\): Flowmodel.bn1.bias"),
        ({"model.backbone.bn1.bias": torch.ones(64)}, "its two copies differ: Visionmodel.backbone.bn1.bias"),
    ]:
        with pytest.raises(ValueError, match=message):
            pair.ours.load_released(released | change)
    del one_copy["contrastive.flow_proj.bias"]
    with pytest.raises(ValueError, match="1 keys do not fit:\n  missing: contrastive.flow_proj.bias"):
        pair.ours.load_released(one_copy)


def test_a_file_is_read_if_it_holds_tensors_and_nothing_else(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(PublishedNetwork, "__init__", lambda self: self.__dict__.update(pair.ours.__dict__))
    released, file = pair.plain.state_dict(), tmp_path / "released.pth"
    torch.save({"state_dict": released, "epoch": 3}, file)
    assert isinstance(PublishedNetwork.from_released(file), PublishedNetwork)
    for content, message in [
        (nn.Linear(1, 1), r"released\.pth: no file of tensors"),
        ({"epoch": 3}, r"released\.pth: no state dict"),
        ({"a": torch.ones(1)}, r"released\.pth: these are not the published network's weights"),
    ]:
        torch.save(content, file)
        with pytest.raises(ValueError, match=message):
            PublishedNetwork.from_released(file)
    torch.save(released, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torn = (tmp_path / "old.pth").read_bytes()[:5000]
    for content in (b"", b"hello there", b"no checkpoint", torn, pickle.dumps({"a": 1})):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"released\.pth: no "):
            PublishedNetwork.from_released(file)
    with pytest.raises(FileNotFoundError, match="absent"):
        PublishedNetwork.from_released(tmp_path / "absent")


def test_the_name_chooses_network_and_objective():
    for name, kinds in {
        "multimodal": (Network, Objective),
        "published": (PublishedNetwork, PublishedObjective),
    }.items():
        built = build(experiment(model=tiny.model(name)), tiny.VOCABULARY)
        assert (type(built.network), type(built.objective)) == kinds


@pytest.mark.parametrize("switch", ["motion", "transformer", "language_guided"])
def test_it_has_no_parts_to_switch_off(switch):
    with pytest.raises(ConfigError, match=f"unknown parameter '{switch}' of Published"):
        network(**{switch: False})
    with pytest.raises(ConfigError, match="the ladder is of the multimodal network"):
        experiment(model=tiny.model("published")).on_rung("B", 0)


def test_time_is_not_encoded():
    """The frames of a window may come in any order, as long as `target` names the same frame."""
    net, batch = network(), replace(tiny.batch(), target=0)
    order = [2, 1, 0]
    backwards = replace(batch, frames=batch.frames[:, order], flow=batch.flow[:, order], target=2)
    with torch.no_grad():
        assert net(backwards).logits.allclose(net(batch).logits, atol=1e-5)


@pytest.mark.parametrize("quirk", ["masked_keys", "gate", "dilation", "border"])
def test_every_quirk_changes_the_output(quirk):
    batch = tiny.batch()
    batch.words_mask[:, 5:] = False
    batch.frames[..., :8, :], batch.flow[..., :8, :], batch.valid[:, :8] = 0, 0, False  # padded above
    backbone = tiny.NARROW | {"input": "wheel"}
    one, other = (network(motion_backbone=backbone, quirks={quirk: on}) for on in (False, True))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(3 if parameter.ndim > 1 else 1)  # fresh weights let little of the flow through
        other.load_state_dict(one.state_dict())
        logits = one(batch).logits
        assert (other(batch).logits - logits).abs().max() > 1e-3 * logits.std()


def test_the_last_level_keeps_its_resolution():
    """Only the first convolution dilated, as published; or all behind the stride that is gone."""
    for partly, expected in {True: [2, 1, 1, 1, 1, 1], False: [1, 2, 2, 2, 2, 2]}.items():
        net = PublishedNetwork(
            tiny.model(
                name="published",
                appearance_backbone={"name": "resnet18", "weights": None},
                motion_backbone={"name": "resnet34", "weights": None},
                quirks={"dilation": partly},
            ),
            tiny.VOCABULARY,
        )
        layer = net.motion.body["layer4"]
        convolutions = [c for c in layer.modules() if isinstance(c, nn.Conv2d) and c.kernel_size == (3, 3)]
        assert [c.dilation[0] for c in convolutions] == [c.padding[0] for c in convolutions] == expected
        assert layer(torch.zeros(1, 256, 5, 7)).shape == (1, 512, 5, 7)
    with pytest.raises(ValueError, match="slip of basic blocks"):
        hold_resolution(nn.Sequential(nn.Conv2d(1, 1, 1)), partly=True)


def test_padding_is_known_and_not_guessed():
    """The wheel is black where the canvas is padded, and only there: black pixels are picture."""
    net = network(motion_backbone=tiny.NARROW | {"input": "wheel"}, quirks={"border": True})
    frames, flow = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 2, 8, 8)
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[:, :2] = False
    black, white = ((x - net.motion.mean) / net.motion.std for x in (0, 255))
    wheels = net.images(frames, flow, valid)[1]
    assert torch.allclose(wheels[:, :, :2], black.expand(2, 3, 2, 8))
    assert torch.allclose(wheels[:, :, 2:], white.expand(2, 3, 6, 8))
    assert torch.equal(wheels, net.images(frames, flow, valid[0])[1])
    assert torch.allclose(net.images(frames, flow)[1], white.expand(2, 3, 8, 8))


def test_recomputing_changes_neither_gradients_nor_statistics():
    torch.manual_seed(0)
    layer = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)
    )
    x = torch.randn(4, 2, 9, 9)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    results = []
    for run in (lambda x: layer(x), lambda x: recomputed(layer, x)):
        layer.load_state_dict(before)
        layer.zero_grad()
        run(x.requires_grad_()).square().sum().backward()
        results.append([*(p.grad.clone() for p in layer.parameters()), *(b.clone() for b in layer.buffers())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    assert layer[1].num_batches_tracked == 1 and layer[1].momentum == 0.1
