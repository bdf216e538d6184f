"""Which network, and the weights of its loss: the parts `model` and `loss` of an Experiment."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmvs.config.part import Part

Freeze = Literal["norm", "stem", "all", "none"]  # of a backbone, for the whole training


class Backbone(Part):
    """An image encoder by name: of torchvision, timm or Hugging Face, or a narrow ResNet by its widths.

    `freeze` holds weights and statistics as they are: `norm` those of batch normalisation, `stem` also all
    that the finest level needs (stem and first stage), `all` everything, `none` nothing.
    """

    # A ResNet of torchvision, "timm:<name>", "hf:<hub id, folder or config.json>", or "narrow".
    name: str = "resnet50"
    # DEFAULT: the pretrained weights of that name; or a published name of weights, a file, or None: random.
    # "narrow" has no published ones: None, or a file that `mmvs export --backbone` wrote.
    weights: str | None = "DEFAULT"
    # Of "narrow": stem (stride 2), then strides 2, 4, 8. At least 8: with fewer channels, torch 2.15 on a CPU
    # of AVX2 writes beyond its memory in the gradient of a strided 1 x 1 convolution with channels last.
    widths: list[Annotated[int, Field(ge=8)]] = [16, 32, 64, 96]
    input: Literal["uv", "wheel"] = "wheel"  # motion only: raw flow, or rendered as a colour wheel
    flow_scale: float = Field(2.0, gt=0)  # motion, "uv" only: pixels per frame that count as 1
    freeze: Freeze | None = None  # None: "norm" where weights are given, "none" where they are random
    # 2: it sees the picture at half its width and height, for a quarter of the work; flow stays in pixels per
    # frame of the whole canvas.
    shrink: Literal[1, 2] = 1

    @property
    def frozen(self) -> Freeze:
        """What stays as it is."""
        return self.freeze or ("norm" if self.weights else "none")


class Language(Part):
    """A text encoder of Hugging Face: a local folder or hub name; or a small BERT trained from scratch.

    BERT and its relatives (RoBERTa, MiniLM, XLM-R, ...) or the text part of CLIP, with a fast tokenizer. The
    path of a config.json gives its architecture with random weights, without a download.
    """

    name: str = "bert-base-uncased"  # or "small": WordPiece vocabulary from the training sentences
    width: int = 64  # of "small", as the next three
    layers: int = 2
    heads: int = 4
    vocabulary: int = 400
    max_words: int = Field(64, ge=4)  # tokens, [CLS] and [SEP] included; longer sentences are cut
    norm: Literal["layer", "batch"] = "batch"  # of the projected words and of their mean
    freeze: Literal["all", "none"] = "none"

    @property
    def frozen(self) -> str:
        """What stays as it is."""
        return self.freeze


class Quirks(Part):
    """Slips of the authors' code that their weights were trained with; off: as the method is described."""

    masked_keys: bool = False  # padding words keep the score 0 (1e-9) in the softmax
    gate: bool = False  # the gate of appearance reads appearance, not motion
    dilation: bool = False  # of the motion backbone's last level only the first convolution is dilated
    border: bool = False  # the wheel's picture is padded with black, not with the white of no motion


def _decisive(model: Multimodal | Published, exclude: set[str]) -> dict[str, Any]:
    """The values of a model that decide its weights; in the first fingerprints, nothing was frozen."""
    values = model.model_dump(mode="json", exclude=exclude)
    for name in ("appearance_backbone", "motion_backbone", "language"):
        values[name]["freeze"] = getattr(model, name).frozen
        if values[name]["freeze"] == "none":
            values[name].pop("freeze")
        if values[name].get("shrink") == 1:
            values[name].pop("shrink")
    return values


def _shared_by_heads(part: Any) -> Any:
    if part.width % part.heads:
        raise ValueError(f"width {part.width} must be a multiple of the number of heads, {part.heads}")
    return part


class Loss(Part):
    """Weights of the terms (mmvs/losses.py); 0 leaves a term out of the sum, and still logs it."""

    coarse: float = Field(0.5, ge=0)
    decoder: float = Field(0.5, ge=0)
    cross_modal: float = Field(0.1, ge=0)
    temporal: float = Field(0.1, ge=0)
    form: Literal["cosine", "contrastive"] = "contrastive"  # of the cross-modal term
    aligned: Literal["encoded", "temporal"] = "encoded"  # what it compares: Za and Zl, or Ta and the summary
    temperature: float = Field(0.1, gt=0)  # of the contrastive form

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them."""
        return self.model_dump(mode="json")


class PublishedLoss(Part):
    """The authors' loss: its terms have equal weights (mmvs/published/objective.py)."""

    limit: float = Field(0.95, gt=0, le=1)  # cosines are cut there: tan(x pi/2) has no bound

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them.

        The constants were in the first fingerprints, when all networks had the parameters of `Loss`.
        """
        weights = {"coarse": 0.5, "decoder": 0.5, "cross_modal": 0.1, "temporal": 0.1}
        form = {"form": "contrastive", "temperature": 0.1}
        return weights | form | ({} if self == PublishedLoss() else {"limit": self.limit})


class Fusion(Part):
    """Language-guided fusion: the dynamic filters of every cell."""

    kernel: Literal[1, 3, 5] = 3  # side of a filter; 1: a gate
    # What joins the filtered streams: a 3 x 3 convolution, or one of each channel and one of each cell.
    convolution: Literal["full", "separable"] = "full"


class Multimodal(Part):
    """The method's network; the four switches are its ablation."""

    name: Literal["multimodal"] = "multimodal"
    appearance: Literal["all", "target", "none"] = "all"  # whose is seen: all frames', the target frame's
    motion: bool = True
    transformer: bool = True
    language_guided: bool = True
    alignment: bool = True  # a switch of the loss
    width: int = Field(256, ge=8)  # D
    heads: int = Field(8, ge=1)
    layers: int = Field(4, ge=1)  # of each: multi-modal encoder, temporal encoder, decoder
    level_widths: list[int] = [64, 128, 256]  # of the fusion, fine to coarse
    # How a token knows its frame: see transformer.py.
    time: Literal["added", "multiplied", "modulated"] = "multiplied"
    fusion: Fusion = Fusion()
    mask_scale: int = Field(4, ge=1)  # how much finer than its cells the coarse mask is drawn
    dropout: float = Field(0.1, ge=0, lt=1)
    appearance_backbone: Backbone = Backbone()
    motion_backbone: Backbone = Backbone()
    language: Language = Language()

    @model_validator(mode="after")
    def _sees_something(self) -> Multimodal:
        if self.appearance == "none" and not self.motion:
            raise ValueError("appearance: none and motion: false leave nothing to see")
        return _shared_by_heads(self)

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them, and is older than `name`."""
        values = _decisive(self, exclude={"name"})
        if self.fusion.convolution == "full":
            values["fusion"].pop("convolution")
        return values


class AppearanceBackbone(Backbone):
    """As the authors' code has it, which freezes nothing."""

    name: str = "resnet101"
    freeze: Freeze | None = "none"


class MotionBackbone(Backbone):
    """As the authors' code has it, which freezes nothing."""

    name: str = "resnet34"
    freeze: Freeze | None = "none"


class ShortLanguage(Language):
    """As the authors' code has it: sentences are cut early."""

    max_words: int = Field(20, ge=4)


class Published(Part):
    """The network of the authors' public code (mmvs/published); of the four switches it has `alignment`."""

    name: Literal["published"] = "published"
    quirks: Quirks = Quirks()
    alignment: bool = True  # a switch of the loss
    width: int = Field(256, ge=8)  # D, at all levels
    heads: int = Field(4, ge=1)
    layers: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    appearance_backbone: AppearanceBackbone = AppearanceBackbone()
    motion_backbone: MotionBackbone = MotionBackbone()
    language: ShortLanguage = ShortLanguage()

    @property
    def motion(self) -> bool:
        """As of Multimodal: this network always reads flow."""
        return True

    @model_validator(mode="after")
    def _backbones_are_resnets(self) -> Published:
        for backbone in (self.appearance_backbone, self.motion_backbone):
            if ":" in backbone.name:
                raise ValueError(
                    f"backbone '{backbone.name}': the published network dilates ResNets: give one of "
                    "torchvision's, or 'narrow'"
                )
            if backbone.shrink > 1:
                raise ValueError("shrink is of the multimodal network: leave it out of the published one")
        return self

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Published:
        return _shared_by_heads(self)

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them.

        The switches were in the first fingerprints, when all networks had them.
        """
        unchanged = {"quirks"} if self.quirks == Quirks() else set()
        switches = {"motion": True, "transformer": True, "language_guided": True}
        return switches | _decisive(self, exclude=unchanged)


Model = Multimodal | Published
