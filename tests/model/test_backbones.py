"""Backbones by name: their weights, sizes and refusals. What all of them hold is in tests/contracts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import tiny
import torch
import torchvision
from torch import nn
from transformers import Dinov2Config, Dinov2Model, SwinConfig, SwinForImageClassification

from mmvs.config import ROOT, Backbone, ConfigError, experiment
from mmvs.model.backbones import body, resampled
from mmvs.model.encoders import AppearanceEncoder, MotionEncoder
from mmvs.model.network import Network
from mmvs.trained import TrainedNetwork

LITE = "timm:tf_efficientnet_lite0"
PRETRAINED = (
    Path(os.environ.get("MMVS_WEIGHTS", ROOT / "data" / "weights")) / "tf_efficientnet_lite0.safetensors"
)


def encoder(name, kind=AppearanceEncoder, **settings):
    return kind(Backbone(**{"name": name, "weights": None, **settings}))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    """A published Swin in half precision, with a classifier."""
    config = SwinConfig(image_size=32, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2)
    folder = tmp_path_factory.mktemp("swin")
    torch.manual_seed(1)
    SwinForImageClassification(config).half().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "image_mean": [0.5, 0.4, 0.3], "image_std": [1, 1, 1]}'
    )
    return folder


@pytest.fixture(scope="module")
def atto(tmp_path_factory):
    """A file of weights of timm's convnext_atto, with its classifier."""
    torch.manual_seed(1)
    file = tmp_path_factory.mktemp("atto") / "atto.safetensors"
    safetensors.torch.save_file(timm.create_model("convnext_atto").state_dict(), file)
    return file


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [
        "timm:convnext_atto",
        "timm:vit_tiny_patch16_224",
        "timm:maxvit_pico_rw_256",
        "timm:swin_tiny_patch4_window7_224",
    ],
)
@pytest.mark.parametrize("size", [(32, 32), (50, 75), (320, 16)])
def test_any_size_gives_the_cells_of_its_strides(name, size):
    """Also where the backbone takes one size alone (MaxViT), or gives channels last (timm's Swin)."""
    made = encoder(name)
    features = made.eval()(torch.zeros(1, 3, *size, dtype=torch.uint8))
    for level, stride in zip([*features.levels, features.top], made.strides, strict=True):
        assert level.shape[-2:] == (-(-size[0] // stride), -(-size[1] // stride)) and level.isfinite().all()
    assert [level.shape[1] for level in [*features.levels, features.top]] == made.widths


@torch.no_grad()
def test_a_plain_backbone_keeps_places(tmp_path):
    """What changes in the lower right corner of the picture changes that corner of every level the most."""
    made, frames = encoder("timm:vit_tiny_patch16_224").eval(), torch.zeros(1, 3, 64, 96, dtype=torch.uint8)
    other = frames.clone()
    other[..., 48:, 80:] = 255
    one, two = made(frames), made(other)
    for a, b in zip([*one.levels, one.top], [*two.levels, two.top], strict=True):
        change = (a - b).norm(dim=1)[0]
        row, column = divmod(int(change.argmax()), change.shape[1])
        assert row >= 0.7 * change.shape[0] and column >= 0.8 * change.shape[1]


def test_resampling_to_the_same_size_is_no_work():
    maps = torch.rand(1, 2, 3, 4)
    assert resampled(maps, (3, 4)) is maps
    constant = resampled(torch.full((1, 1, 3, 5), 7.0), (6, 4))
    assert constant.shape == (1, 1, 6, 4) and constant.allclose(torch.tensor(7.0))


def test_weights_of_a_file(atto):
    made = encoder("timm:convnext_atto", weights=str(atto))
    state = safetensors.torch.load_file(atto)
    assert torch.equal(made.body.net.stem_0.weight, state["stem.0.weight"])
    assert torch.equal(
        made.body.net.stages_3.blocks[1].mlp.fc2.weight, state["stages.3.blocks.1.mlp.fc2.weight"]
    )


def test_weights_of_a_narrow_backbone_go_from_run_to_run(tmp_path):
    trained = TrainedNetwork(experiment(model=tiny.model()), tiny.network(), None)
    for name, kind, channels in (("appearance", AppearanceEncoder, 3), ("motion", MotionEncoder, 2)):
        file = tmp_path / f"{name}.safetensors"
        trained.save_backbone(file, name)
        made = encoder("narrow", kind, weights=str(file), widths=tiny.NARROW["widths"], input="uv")
        theirs = getattr(trained.network, name).body.state_dict()
        assert made.frozen == "norm" and made.body.state_dict().keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in made.body.state_dict().items())
        assert next(made.body.parameters()).shape[1] == channels
    of_flow = encoder(
        "narrow",
        MotionEncoder,
        weights=str(tmp_path / "appearance.safetensors"),
        widths=tiny.NARROW["widths"],
        input="uv",
    )
    of_frames = trained.network.appearance.body.state_dict()["stem.0.weight"]
    assert next(of_flow.body.parameters()).allclose(of_frames[:, :2] * 1.5)
    with pytest.raises(ValueError, match="not of 'narrow'"):
        encoder("narrow", weights=str(tmp_path / "appearance.safetensors"), widths=[8, 8, 8, 8])
    with pytest.raises(ValueError, match="no published weights; give a file"):
        encoder("narrow", weights="DEFAULT")
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors do not exist"):
        encoder("narrow", weights="absent.safetensors")


def test_only_a_narrow_backbone_is_saved_alone(tmp_path):
    for changes, reason in (
        ({"appearance_backbone": {"name": "resnet18", "weights": None}}, "is 'resnet18'"),
        ({"motion": False}, "left out"),
    ):
        it = experiment(model=tiny.model(**changes))
        name = "motion" if "motion" in changes else "appearance"
        with pytest.raises(ConfigError, match=reason):
            TrainedNetwork(it, Network(it.model, 40), None).save_backbone(tmp_path / "weights", name)
    assert not list(tmp_path.iterdir())


def test_two_channels_of_flow_keep_the_scale_of_pretrained_weights(atto, swin, tmp_path):
    file = tmp_path / "resnet.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), file)
    for name, weights in (
        ("timm:convnext_atto", str(atto)),
        (f"hf:{swin}", "DEFAULT"),
        ("resnet18", str(file)),
    ):
        of_flow, of_frames = (
            next(
                m
                for m in encoder(name, MotionEncoder, weights=weights, input=i).modules()
                if isinstance(m, nn.Conv2d)
            )
            for i in ("uv", "wheel")
        )
        assert of_flow.weight.shape[1] == 2
        assert of_flow.weight.allclose(of_frames.weight[:, :2] * 1.5), name


def test_hugging_face_weights_are_the_published_ones_in_single_precision(swin):
    published = SwinForImageClassification.from_pretrained(swin).state_dict()
    made = encoder(f"hf:{swin}", weights="DEFAULT")
    own = {key: value for key, value in made.body.net.state_dict().items() if key in published}
    assert len(own) > 50 and all(v.dtype == torch.float32 for v in own.values() if v.is_floating_point())
    assert all(torch.equal(value, published[key].to(value.dtype)) for key, value in own.items())
    assert made.mean.flatten().tolist() == pytest.approx([127.5, 102, 76.5])
    by_file = encoder(f"hf:{swin / 'config.json'}", weights=str(swin / "model.safetensors"))
    assert torch.equal(by_file.body.net.state_dict()[next(iter(own))], own[next(iter(own))])


def test_pictures_are_normalised_as_the_backbone_was_trained_and_checkpoints_keep_that():
    made = encoder(LITE)
    assert made.mean.unique() == made.std.unique() == 127.5
    assert {"mean", "std"} < set(made.state_dict())
    assert not {"mean", "std"} & set(encoder("narrow").state_dict())


@torch.no_grad()
@pytest.mark.skipif(not PRETRAINED.is_file(), reason="the pretrained weights are not here: set MMVS_WEIGHTS")
def test_pretrained_weights_see_what_a_random_backbone_does_not():
    """The statistics of the last level are those that its normalisation has kept of real pictures."""
    made = encoder(LITE, weights=str(PRETRAINED)).eval()
    g = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 3, 14, 14), dtype=torch.uint8, generator=g).float()
    frames = nn.functional.interpolate(noise, size=(224, 224), mode="bicubic").clamp(0, 255).byte()
    top = made(frames).top
    assert made.widths == [24, 40, 112, 320] and 0.3 < top.std() < 5
    assert made.frozen == "norm"


@pytest.mark.parametrize(
    "settings, error, words",
    [
        ({"name": "timm:convnext_ato"}, ValueError, "no model of this name: did you mean convnext_atto"),
        ({"name": "timm:hf-hub:somebody/model"}, ValueError, "timm has no model of this name"),
        ({"name": "timm:resnet18.nobody"}, ValueError, "Invalid pretrained tag"),
        ({"name": "timm:"}, ValueError, "timm has no model of this name"),
        ({"name": "tim:resnet18"}, ValueError, "use 'narrow' or a torchvision ResNet, 'timm:<name>'"),
        ({"name": "timm:convnext_atto", "weights": "absent.pt"}, FileNotFoundError, "absent.pt"),
        ({"name": "resnet18", "weights": "absent.pth"}, FileNotFoundError, "absent.pth do not exist"),
        ({"name": "hf:{swin}", "weights": "absent.bin"}, FileNotFoundError, "absent.bin"),
        ({"name": "hf:{swin}/config.json", "weights": "DEFAULT"}, ValueError, "brings no weights"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(swin, settings, error, words):
    settings = {key: value and value.replace("{swin}", str(swin)) for key, value in settings.items()}
    with pytest.raises(error, match=words):
        encoder(**{"weights": None, **settings})


@pytest.mark.parametrize(
    "name", ["resnet18", "timm:convnext_atto", LITE, "timm:vit_tiny_patch16_224", "hf:{swin}"]
)
def test_weights_of_another_backbone_are_refused(swin, tmp_path, name):
    """Also where the library passes over what does not fit."""
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28)
    Dinov2Model(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="weights"):
        encoder(name.replace("{swin}", str(swin)), weights=str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("content", [b"", b"no weights", None])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_torn_file_of_weights_is_named(tmp_path, suffix, content):
    file = tmp_path / f"torn{suffix}"
    file.write_bytes(content or b"")
    if content is None and suffix == ".pth":
        torch.save([1, 2, 3], file)
    with pytest.raises(ValueError, match=f"torn{suffix}"):
        encoder("timm:convnext_atto", weights=str(file))


def test_a_model_of_another_kind_is_no_backbone(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "timm_backbone", "backbone": "resnet18"}')
    with pytest.raises(ValueError, match="model_type 'timm_backbone' is none that can be used here: beit,"):
        encoder(f"hf:{tmp_path / 'config.json'}")


def test_what_is_not_asked_for_is_not_imported():
    code = (
        "import sys; from mmvs.config import Backbone; from mmvs.model.backbones import body; "
        "body(Backbone(name='narrow', weights=None)); print('timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    "name, stem",
    [
        ("narrow", {"stem", "layer1"}),
        ("resnet18", {"conv1", "bn1", "layer1"}),
        (LITE, {"conv_stem", "bn1", "blocks"}),
    ],
)
def test_freezing(name, stem):
    def trained(freeze):
        made = encoder(name, freeze=freeze)
        own = getattr(made.body, "net", made.body)
        norms = [m for m in own.modules() if isinstance(m, nn.BatchNorm2d)]
        return {key for key, p in own.named_parameters() if p.requires_grad}, made, norms

    everything, made, norms = trained("none")
    assert all(norm.training for norm in norms)
    of_norms = {key for key, p in made.body.named_parameters() if p.ndim == 1}
    for freeze in ("norm", "stem"):
        rest, made, norms = trained(freeze)
        made.train()
        assert rest < everything and not any(norm.training for norm in norms) and made.training
        before = [norm.running_mean.clone() for norm in norms]
        made(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).top.sum().backward()
        assert all(torch.equal(a, norm.running_mean) for a, norm in zip(before, norms, strict=True))
    assert {key.split(".")[0] for key in everything - rest if not _is_norm(made, key)} == stem - {"bn1"}
    assert of_norms and any(_last(key) for key in rest), "the last level is trained"
    assert trained("all")[0] == set() and not any(m.training for m in trained("all")[1].body.modules())


def _is_norm(made, key):
    own = getattr(made.body, "net", made.body)
    return isinstance(own.get_submodule(key.rpartition(".")[0]), nn.BatchNorm2d)


def _last(key):
    return key.startswith(("layer4", "blocks.6"))


def test_pretrained_normalisation_is_frozen_unless_told_otherwise(atto):
    assert Backbone(name="resnet18").frozen == "norm" and Backbone(weights=None).frozen == "none"
    assert Backbone(freeze="none").frozen == "none" and Backbone(weights=None, freeze="norm").frozen == "norm"


def test_levels_are_those_of_the_library():
    """The levels of stride 4 and above, unchanged where the sides are multiples of 32."""
    torch.manual_seed(0)
    made = body(Backbone(name="timm:resnet18", weights=None)).module.eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert [level.shape[1] for level in made(images).values()] == [64, 128, 256, 512]
        for one, other in zip(made(images).values(), made.net(images), strict=True):
            assert torch.equal(one, other)


def test_a_backbone_of_one_size_cannot_be_shrunk():
    with pytest.raises(ValueError, match="one size alone.*leave shrink out"):
        encoder("timm:maxvit_pico_rw_256", shrink=2)
