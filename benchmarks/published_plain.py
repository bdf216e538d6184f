"""The published network written down directly, with the authors' names: what savings are measured by.

Every frame reads the sentence again, attention is written out, every convolution sees its concatenated
inputs, the 6400 x 6400 map is stored. Its state dict has the authors' keys, so that it also checks the
conversion of their weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet34, resnet101
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import ASPP
from transformers import BertConfig, BertModel

D, FRAMES = 256, 3
HALF_PI = 3.141592 / 2


class Whole(nn.Module):
    """All of it: `forward` gives logits, `maps` what training needs beside them."""

    def __init__(self, bert: BertConfig | None = None):
        super().__init__()
        bert = bert or BertConfig()
        bert._attn_implementation = "eager"
        self.Languagemodel = nn.ModuleDict({"Languagemodel": BertModel(bert)})
        body = resnet101(replace_stride_with_dilation=[False, False, True])
        self.Visionmodel = nn.ModuleDict({"backbone": _levels(body)})
        self.model = self.Visionmodel  # registered twice, as published
        self.Flowmodel = _levels(_partly_dilated(resnet34()))
        self.LanguagemodelGuidedSegmentation = Guided(bert.hidden_size)
        self.contrastive = nn.ModuleDict(
            {
                "vision_proj": nn.Conv2d(384, 128, 1),
                "flow_proj": nn.Conv2d(384, 128, 1),
                "language_proj": nn.Conv2d(bert.hidden_size, 128, 1),
            }
        )

    def forward(self, frames: Tensor, flow: Tensor, tokens: Tensor, attention: Tensor) -> tuple[Tensor, ...]:
        """frames, flow (B, 3, 3, H, W), target last; tokens, attention (B, L).

        Returns logits (B, 1, H, W), and of contrast: vision and flow (B, 384, h, w), language (B, C).
        """
        said = self.Languagemodel["Languagemodel"](
            input_ids=tokens.repeat_interleave(FRAMES, 0),
            attention_mask=attention.repeat_interleave(FRAMES, 0),
        ).last_hidden_state
        looks = list(self.Visionmodel["backbone"](frames.flatten(0, 1)).values())
        moves = list(self.Flowmodel(flow.flatten(0, 1)).values())
        logits, vision, motion = self.LanguagemodelGuidedSegmentation(
            looks, moves, said, attention.repeat_interleave(FRAMES, 0), frames.shape[-2:]
        )
        return logits, vision, motion, said.unflatten(0, (-1, FRAMES))[:, -1, 0]

    def losses(self, outputs: tuple[Tensor, ...], mask: Tensor) -> dict[str, Tensor]:
        """The four terms; outputs of `forward`, mask (B, H, W) in {0, 1}."""
        logits, vision, flow, language = outputs
        vision = F.normalize(self.contrastive["vision_proj"](vision), dim=1)
        flow = F.normalize(self.contrastive["flow_proj"](flow), dim=1)
        language = F.normalize(self.contrastive["language_proj"](language[:, :, None, None]), dim=1)
        small = mask[:, 2::4, 2::4]
        cells = small.flatten(1)
        same = (cells[:, :, None] == cells[:, None]).float()
        pairs = torch.einsum("bci,bcj->bij", vision.flatten(2), flow.flatten(2))
        judge = F.binary_cross_entropy_with_logits
        return {
            "final": judge(logits[:, 0], mask),
            "appearance_language": judge(torch.tan(HALF_PI * (vision * language).sum(1)), small),
            "motion_language": judge(torch.tan(HALF_PI * (flow * language).sum(1)), small),
            "appearance_motion": judge(torch.tan(HALF_PI * pairs), same),
        }


class Guided(nn.Module):
    """Everything between the encoders and the logits."""

    def __init__(self, language: int):
        super().__init__()
        self.language_project = nn.ModuleDict({"conv": nn.Conv1d(language, D, 1), "bn": nn.BatchNorm1d(D)})
        self.aspp, self.flow_aspp = _aspp(2048, language), _aspp(512, language)
        self.register_buffer("spatial_pos", _places(20, 20))
        self.fuse_feature_post_rgb, self.fuse_feature_post_flow = _post(), _post()
        layers = nn.ModuleList(
            nn.ModuleList(
                [nn.LayerNorm(D), Attention(), nn.LayerNorm(D), Attention(), nn.LayerNorm(D), FeedForward()]
            )
            for _ in range(4)
        )
        self.language_guided_segmentation = nn.ModuleDict({"transformer": nn.ModuleDict({"layers": layers})})
        self.up_16_16, self.up_16_8, self.up_8_4 = Up(1024, 256, 20), Up(512, 128, 40), Up(256, 64, 80)
        self.conv, self.bn = nn.Conv2d(D, D, 3, padding=1, bias=False), nn.BatchNorm2d(D)
        self.conv_2 = nn.Conv2d(D, 1, 1)
        self.fuse_rgb, self.fuse_flow = _fuse(), _fuse()

    def forward(self, looks, moves, said, mask, size) -> tuple[Tensor, Tensor, Tensor]:
        """Levels (3B, C, h, w), words (3B, L, C), their mask (3B, L) → logits and features of contrast."""
        words = self.language_project["bn"](self.language_project["conv"](said.transpose(1, 2))).transpose(
            1, 2
        )
        length, (h, w) = words.shape[1], looks[3].shape[-2:]
        place = _places(h, w).to(words).expand(len(words), -1, -1, -1)
        rgb = self.fuse_feature_post_rgb(torch.cat([self.aspp(looks[3]), place], 1))
        flow = self.fuse_feature_post_flow(torch.cat([self.flow_aspp(moves[3]), place], 1))
        x = torch.cat([words, rgb.flatten(2).transpose(1, 2), flow.flatten(2).transpose(1, 2)], 1)
        seen = torch.cat([mask.bool(), mask.new_ones(len(x), 2 * h * w, dtype=torch.bool)], 1)
        for norm, cross, norm_time, time, norm_mlp, mlp in self.language_guided_segmentation["transformer"][
            "layers"
        ]:
            x = x + cross(norm(x), seen)
            text, rgb, flow = x.split([length, h * w, h * w], 1)
            of_clip = norm_time(rgb).unflatten(0, (-1, FRAMES)).flatten(1, 2)
            rgb = rgb + time(of_clip, None).unflatten(1, (FRAMES, -1)).flatten(0, 1)
            x = torch.cat([text, rgb, flow], 1)
            x = x + mlp(norm_mlp(x))
        x = x[:, length : length + h * w].transpose(1, 2).unflatten(2, (h, w))

        target = slice(FRAMES - 1, None, FRAMES)
        cls = words[target, 0, :, None, None]
        v16, f16, x = self.up_16_16(looks[2][target], moves[2][target], cls, x[target])
        v8, f8, x = self.up_16_8(looks[1][target], moves[1][target], cls, x)
        v4, f4, x = self.up_8_4(looks[0][target], moves[0][target], cls, x)
        logits = self.conv_2(F.relu(self.bn(self.conv(x))))
        return (
            _resized(logits, size),
            _joined(self.fuse_rgb, v16, v8, v4),
            _joined(self.fuse_flow, f16, f8, f4),
        )


class Attention(nn.Module):
    """Four heads of 64, no bias; a masked key has the score 1e-9."""

    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Conv1d(D, D, 1, bias=False) for _ in range(4))

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        parts = [part(x.transpose(1, 2)).unflatten(1, (4, 64)) for part in (self.to_q, self.to_k, self.to_v)]
        q, k, v = parts
        scores = torch.einsum("bhci,bhcj->bhij", q, k) * 64**-0.5
        if seen is not None:
            scores = scores.masked_fill(~seen[:, None, None], 1e-9)
        found = torch.einsum("bhij,bhcj->bhci", scores.softmax(-1), v)
        return self.to_out(found.flatten(1, 2)).transpose(1, 2)


class FeedForward(nn.Module):
    """256 → 128 → 256."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(D, 128), nn.GELU(), nn.Dropout(0.1), nn.Linear(128, D), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Up(nn.Module):
    """Fusion of one level."""

    def __init__(self, vision: int, flow: int, grid: int):
        super().__init__()
        self.vision_f, self.flow_f, self.language_f = (nn.Conv2d(c, D, 1) for c in (vision, flow, D))
        self.enhance_vision_f, self.enhance_flow_f = (nn.Conv2d(2 * D + 8, D, 3, padding=1) for _ in range(2))
        self.vision_to_attention, self.flow_to_attention = (nn.Conv2d(D, 1, 1) for _ in range(2))
        self.fuse = nn.Conv2d(2 * D, D, 3, padding=1)
        self.out_conv = nn.ModuleDict({name: nn.Conv2d(D, D, 3, padding=1) for name in ("conv1", "conv2")})
        self.register_buffer("spatial_pos", _places(grid, grid))

    def forward(
        self, vision: Tensor, flow: Tensor, cls: Tensor, above: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        v, f, words = self.vision_f(vision), self.flow_f(flow), self.language_f(cls)
        size = vision.shape[-2:]
        place = _places(*size).to(v).expand(len(v), -1, -1, -1)
        above = _resized(above, size)
        ev = words * self.enhance_vision_f(torch.cat([v, above, place], 1))
        ef = words * self.enhance_flow_f(torch.cat([f, above, place], 1))
        va = torch.sigmoid(self.vision_to_attention(ev))
        fa = torch.sigmoid(self.flow_to_attention(ev))  # of ev, as published
        x = self.fuse(torch.cat([ev + fa * ev, ef + va * ef], 1))
        x = x + self.out_conv["conv2"](F.relu(self.out_conv["conv1"](F.relu(x))))
        return ev, ef, x


def _levels(net: nn.Module) -> nn.Module:
    return IntermediateLayerGetter(net, {f"layer{i}": str(i) for i in range(1, 5)})


def _partly_dilated(net: nn.Module) -> nn.Module:
    first = net.layer4[0]
    first.conv1.stride, first.downsample[0].stride = (1, 1), (1, 1)
    first.conv1.dilation, first.conv1.padding = (2, 2), (2, 2)
    return net


def _aspp(channels: int, language: int) -> nn.Module:
    aspp = ASPP(channels, [3, 5, 7], D)
    aspp.embedding_project = nn.Sequential(nn.Linear(language, D), nn.BatchNorm1d(D))  # never used
    return aspp


def _post() -> nn.Module:
    return nn.Sequential(nn.Conv2d(D + 8, D, 3, padding=1), nn.ReLU(), nn.Conv2d(D, D, 1))


def _fuse() -> nn.Module:
    return nn.ModuleDict(
        {name: nn.Sequential(nn.Conv2d(D, 128, 1), nn.ReLU()) for name in ("f_16", "f_8", "f_4")}
    )


def _joined(fuse: nn.Module, at_16: Tensor, at_8: Tensor, at_4: Tensor) -> Tensor:
    size = at_4.shape[-2:]
    return torch.cat(
        [_resized(fuse["f_16"](at_16), size), _resized(fuse["f_8"](at_8), size), fuse["f_4"](at_4)], 1
    )


def _resized(x: Tensor, size) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _places(h: int, w: int) -> Tensor:
    """(8, h, w): left, top, right, bottom, centre x, centre y in [-1, 1], 1 / w, 1 / h."""
    left, right = ((torch.arange(w, dtype=torch.float64) + i) / w * 2 - 1 for i in (0, 1))
    top, bottom = ((torch.arange(h, dtype=torch.float64) + i) / h * 2 - 1 for i in (0, 1))
    columns = [c[None].expand(h, w) for c in (left, right, (left + right) / 2)]
    rows = [r[:, None].expand(h, w) for r in (top, bottom, (top + bottom) / 2)]
    ones = torch.ones(h, w, dtype=torch.float64)
    order = [columns[0], rows[0], columns[1], rows[1], columns[2], rows[2], ones / w, ones / h]
    return torch.stack(order).float()
