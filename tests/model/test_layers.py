"""The layers of an encoder, counted by hand."""

import pytest
import torch
from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModel

from mmvs.config import Backbone, experiment
from mmvs.model.backbones import body
from mmvs.model.layers import layers
from mmvs.training.optimisation import NetworkTraining

SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}


def names(encoder):
    own = {parameter: key for key, parameter in encoder.named_parameters()}
    found = layers(encoder)
    members = [parameter for layer in found for parameter in layer]
    assert len(members) == len(set(members)) == len(own), "every parameter once"
    return [[own[p] for p in layer] for layer in found]


def test_a_resnet_has_a_stem_and_its_blocks():
    found = names(body(Backbone(name="resnet18", weights=None)).module)
    assert len(found) == 1 + 8 and found[0] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert {key.rsplit(".", 2)[0] for key in found[3]} == {"layer2.0", "layer2.0.downsample"}


@pytest.mark.parametrize("depth", [1, 3])
def test_a_transformer_has_embeddings_and_its_blocks(depth):
    found = names(BertModel(BertConfig(num_hidden_layers=depth, **SIZES), add_pooling_layer=False))
    assert len(found) == 1 + depth
    assert all(key.startswith("embeddings.") for key in found[0])
    assert all(key.startswith(f"encoder.layer.{depth - 1}.") for key in found[-1])
    of_clip = names(CLIPTextModel(CLIPTextConfig(num_hidden_layers=depth, projection_dim=16, **SIZES)))
    assert len(of_clip) == 1 + depth + 1 and of_clip[-1][0].startswith("final_layer_norm")


@pytest.mark.parametrize("name, count", [("timm:vit_tiny_patch16_224", 13), ("timm:convnext_atto", 16)])
def test_of_timm(name, count):
    """12 blocks behind the embeddings; 2 + 2 + 6 + 2 blocks, a stem, and 3 steps between stages."""
    assert len(names(body(Backbone(name=name, weights=None)).module)) == count


def test_rates_fall_from_the_last_layer_to_the_first():
    small = {"name": "narrow", "weights": None}
    model = {"width": 8, "heads": 2, "appearance_backbone": small, "motion_backbone": small}
    model |= {"language": {"name": "small", "width": 8, "heads": 2, "layers": 2}}
    rates = {"backbone_rate": 1.0, "language_rate": 2.0, "rate": 4.0}

    def groups(decay):
        torch.manual_seed(0)
        training = NetworkTraining(experiment(model=model, training=rates | {"layer_decay": decay}), 40)
        own = {p: key for key, p in training.network.named_parameters()}
        found = training.configure_optimizers()["optimizer"].param_groups
        assert len({group["name"] for group in found}) == len(found)
        return {own[p]: group["initial_lr"] for group in found for p in group["params"]}, found

    rate, _ = groups(0.5)
    assert [rate[f"appearance.body.layer{i}.conv1.weight"] for i in (4, 3, 2, 1)] == [1, 0.5, 0.25, 0.125]
    assert rate["appearance.body.stem.1.bias"] == rate["motion.body.stem.0.weight"] == 0.0625
    assert rate["language.bert.encoder.layer.1.output.dense.weight"] == 2
    assert rate["language.bert.embeddings.word_embeddings.weight"] == 0.5
    assert rate["language.project.weight"] == 4 and rate["coarse.head.draw.0.weight"] == 4
    plain, found = groups(1.0)
    assert set(plain.values()) == {1, 2, 4} and [group["name"] for group in found][:2] == [
        "backbones",
        "backbones (no decay)",
    ]
