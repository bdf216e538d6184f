"""The published network against reference outputs of the authors' code, stage by stage, in float32.

`pytest -s tests/published/test_golden.py` prints how far every stage is from the reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import golden
import numpy as np
import pytest
import torch
from torch import Tensor

from mmvs.config import PublishedLoss
from mmvs.model.inference import fit_to_cpu
from mmvs.published.fusion import resized
from mmvs.published.network import PublishedNetwork
from mmvs.published.objective import PublishedObjective, tangent
from mmvs.published.released import their_name
from mmvs.schema import Batch

pytestmark = pytest.mark.skipif(not golden.FOLDER.is_dir(), reason=f"no reference outputs in {golden.FOLDER}")

TARGET = 2  # the last of three frames
NOISE = 2e-4  # of a stage's standard deviation: float32 reaches 0.6e-4, the smallest slip worth catching 5e-4


class Run:
    """One forward of the released network in eval mode, with every stage, ready for one backward."""

    def __init__(self):
        self.network = fit_to_cpu(PublishedNetwork().eval())
        self.network.load_released(golden.state_dict())
        self.network.language.bert.embeddings.requires_grad_(True)  # the reference has their gradient too
        self.expected = dict(np.load(golden.FOLDER / "set1_outputs.npz"))
        self.full = dict(np.load(golden.FOLDER / "set1_intermediates.npz"))
        self.statistics = json.loads((golden.FOLDER / "set1_statistics.json").read_text())["tensors"]
        self.stages: dict[str, Tensor] = {}
        self._listen()
        tokens, attention = (
            torch.from_numpy(self.expected[name])[:, 0, 0] for name in ("token_ids", "attention_mask")
        )
        inputs = (golden.picture("set1.image"), golden.picture("set1.flow"), tokens, attention)
        self.arguments = self.network.as_observed(*inputs)
        self.prediction = self.network.decide(*self.arguments)
        self._derive()

    def _keep(self, name: str, value: Tensor) -> None:
        self.stages.setdefault(name, value.detach())  # the first: layers run again in the backward pass

    def _listen(self) -> None:
        """Record what goes into and comes out of the parts, under the reference's names."""
        net = self.network

        def out(part: torch.nn.Module, *names: str) -> None:
            def record(module, inputs, output):
                outputs = output if isinstance(output, tuple) else (output,)
                for name, value in zip(names, outputs, strict=False):
                    self._keep(name, value)

            part.register_forward_hook(record)

        def into(part: torch.nn.Module, name: str) -> None:
            def record(module, inputs):
                if inputs[0].shape[:2] != (1, 820):  # what only the figure of attention asks for
                    self._keep(name, inputs[0])

            part.register_forward_pre_hook(record)

        net.language.bert.register_forward_hook(lambda m, a, out: self._keep("bert", out.last_hidden_state))
        out(net.language, "language_project")
        for name, body in {"rgb": net.appearance.body, "flow": net.motion.body}.items():
            for level in range(1, 5):
                out(body[f"layer{level}"], f"{name}_backbone.layer{level}")
        for aspp, flowing, context in zip(("aspp", "flow_aspp"), ("rgb", "flow"), net.contexts, strict=True):
            out(context.aspp, aspp)
            out(context, f"mmvt_in_{flowing}")
        for i, block in enumerate(net.transformer.blocks):
            into(block.norm_frame, f"mmvt_layer{i}.in")
            into(block.norm_time, f"mmvt_layer{i}.after_cross")
            into(block.norm_cells, f"mmvt_layer{i}.before_mlp")
            out(block.feed_forward, f"mmvt_layer{i}.mlp")
        out(net.transformer, "mmvt_out")
        for stride, fusion in zip((4, 8, 16), net.fusions, strict=True):
            out(fusion, *(f"decoder{stride}.{i}" for i in range(3)))
        for name, parts in {"rgb": net.contrast.appearance, "flow": net.contrast.motion}.items():
            for level, part in enumerate(parts):
                out(part, f"fuse_{name}/{level}")
        out(net.head, "logits_80")

    def _derive(self) -> None:
        """What this network never holds as one tensor."""
        prediction = self.prediction
        self._keep("logits", prediction.logits[:, None])
        for name in ("fuse_rgb", "fuse_flow"):
            levels = [self.stages.pop(f"{name}/{level}").relu() for level in (2, 1, 0)]
            self._keep(name, torch.cat([resized(x, levels[-1].shape[-2:]) for x in levels], dim=1))
        for name, stream in {"vision_map": prediction.appearance, "flow_map": prediction.motion}.items():
            self._keep(name, tangent(torch.einsum("nkhw,nk->nhw", stream, prediction.sentence), 1.0)[:, None])
        appearance, motion = (x.detach().flatten(2)[0] for x in (prediction.appearance, prediction.motion))
        self._keep("vision_flow_map", tangent(appearance.T @ motion, 1.0)[None])

    def difference(self, name: str) -> tuple[float, int]:
        """Largest difference from the reference in units of its standard deviation, and of how many numbers.

        A stage that we compute only where it is needed is compared there.
        """
        reference, ours = self.statistics[name], self.stages[name]
        shape, index = reference["shape"], torch.tensor(reference["sample_index"])
        theirs = torch.tensor(reference["sample_value"], dtype=torch.float64)
        if list(ours.shape) == [1, *shape[1:]] and shape[0] == 3 and name in ("bert", "language_project"):
            ours = ours.expand(shape)  # the reference reads the sentence three times
        ours, chosen = (
            ours.reshape(-1, *ours.shape[-(len(shape) - 1) :]),
            torch.ones(len(index), dtype=torch.bool),
        )
        if list(ours.shape) != shape:  # the target's appearance alone
            whole = torch.full(shape, torch.nan)
            cells = slice(20, 420) if shape[1] == 820 else slice(None)
            whole[TARGET, cells] = ours[0]
            ours, chosen = whole, ~whole.reshape(-1)[index].isnan()
        apart = (ours.reshape(-1)[index].double() - theirs)[chosen].abs()
        return apart.max().item() / reference["std"], len(apart)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """The Run; `pytest -s` shows its figures."""
    it = Run()
    yield it
    apart = np.abs(it.stages["logits"].numpy() - it.expected["logits"])
    print("\n\nlargest difference from the reference, in its standard deviations")
    print("\n".join(f"{stage:26} {it.difference(stage)[0]:.1e}" for stage in STAGES))
    print(f"logits by themselves: {apart.max():.1e} at most, {apart.mean():.1e} on average")


STAGES = [
    "bert", "language_project",
    *(f"rgb_backbone.layer{i}" for i in range(1, 5)), *(f"flow_backbone.layer{i}" for i in range(1, 5)),
    "aspp", "flow_aspp", "mmvt_in_rgb", "mmvt_in_flow",
    *(f"mmvt_layer{i}.{at}" for i in range(4) for at in ("in", "after_cross", "before_mlp", "mlp")),
    "mmvt_out", *(f"decoder{stride}.{i}" for stride in (16, 8, 4) for i in range(3)),
    "fuse_rgb", "fuse_flow", "logits_80", "logits", "vision_map", "flow_map", "vision_flow_map",
]  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_the_reference_s(run, stage):
    apart, numbers = run.difference(stage)
    assert numbers >= 3 and apart < NOISE


@pytest.mark.parametrize("stage", ["mmvt_out", "decoder16", "decoder8", "bert", "language_project"])
def test_stages_that_the_reference_keeps_whole(run, stage):
    theirs = torch.from_numpy(run.full[stage])
    ours = run.stages[stage if stage in run.stages else f"{stage}.2"]
    assert (ours[0] - theirs[-1]).abs().max() < NOISE * theirs.std()


def test_logits_and_alignment_maps(run):
    apart = np.abs(run.stages["logits"].numpy() - run.expected["logits"])
    assert apart.max() < 1.5e-3 and apart.mean() < 2e-4
    pairs = run.stages["vision_flow_map"]
    maps = {
        "vision_map": run.stages["vision_map"],
        "flow_map": run.stages["flow_map"],
        "vision_flow_map_sub64": pairs[:, 50::100, 50::100],
        "vision_flow_map_rowmean": pairs.mean(2),
        "vision_flow_map_diag": pairs.diagonal(dim1=1, dim2=2),
    }
    for name, ours in maps.items():
        assert np.abs(ours.numpy() - run.expected[name]).max() < 1e-5, name


def test_four_tensors_give_the_same_logits(run):
    with torch.no_grad():
        alone = run.network.segment(*run.arguments)
    assert alone.shape == (1, 1, 320, 320) and torch.equal(alone[:, 0], run.prediction.logits)


@pytest.mark.parametrize(
    ("quirk", "variant"),
    [
        ("masked_keys", "set1: key mask filled with -1e9 instead of +1e-9"),
        ("gate", "set1: flow_to_attention applied to flow features"),
    ],
)
def test_without_a_quirk_the_logits_move_as_far_as_the_reference_s(run, quirk, variant):
    reference = json.loads((golden.FOLDER / "sensitivity_and_flops.json").read_text())["variants"][variant]
    parts = [
        (part, name)
        for part in run.network.modules()
        for name in ("masked_keys", "gate_from_appearance")
        if name.startswith(quirk) and hasattr(part, name)
    ]
    assert len(parts) == {"masked_keys": 8, "gate": 3}[quirk]
    for part, name in parts:
        setattr(part, name, False)
    with torch.no_grad():
        apart = np.abs(run.network.segment(*run.arguments).numpy() - run.expected["logits"])
    for part, name in parts:
        setattr(part, name, True)
    assert apart.max() == pytest.approx(reference["logits_max"], rel=1e-2)
    assert apart.mean() == pytest.approx(reference["logits_mean"], rel=1e-2)


def test_losses_and_the_norm_of_every_gradient(run):
    reference = json.loads((golden.FOLDER / "set1_losses_and_gradients.json").read_text())
    mask = golden.truth()
    batch = Batch(None, None, mask, None, None, None, None, TARGET, [], [])
    terms = PublishedObjective(PublishedLoss(limit=1), alignment=True)(run.prediction, batch)
    theirs = {
        "final": "seg_loss(BCE)",
        "appearance_language": "vision_contrast_loss",
        "motion_language": "flow_contrast_loss",
        "appearance_motion": "vision_flow_contrast_loss",
        "loss": "total_loss",
    }
    for ours, name in theirs.items():
        assert terms[ours].item() == pytest.approx(reference["losses"][name], rel=5e-5), ours
    terms["loss"].backward()
    compared = 0
    for name, parameter in run.network.named_parameters():
        norm = reference["gradient_l2"][their_name(name)]
        if norm > 1e-6:
            assert parameter.grad.norm().item() == pytest.approx(norm, rel=1e-2), name
            compared += 1
    with_gradient = {key for key, norm in reference["gradient_l2"].items() if norm and norm > 1e-6}
    assert compared == len({key for key in with_gradient if not key.startswith("model.")}) > 800
