"""The network of the authors' public code (Zhao et al., CVPR 2022), for which their weights were released."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from mmvs.config import AppearanceBackbone, MotionBackbone, Published, Quirks
from mmvs.model.encoders import AppearanceEncoder, MotionEncoder
from mmvs.model.language import language_model
from mmvs.model.recompute import recomputed
from mmvs.published.encoders import Context, PublishedLanguage, hold_resolution
from mmvs.published.fusion import Contrast, PublishedFusion, resized
from mmvs.published.released import is_released, read_released, translate
from mmvs.published.transformer import PublishedTransformer
from mmvs.schema import Batch, Features, Observed, Prediction, Sentences

RELEASED = Published(
    quirks=Quirks(masked_keys=True, gate=True, dilation=True, border=True),
    appearance_backbone=AppearanceBackbone(weights=None),
    motion_backbone=MotionBackbone(weights=None),
)
# Of each backbone the stem and the two finest levels compute their inner maps again for the gradient: four
# tenths of what a backbone keeps, for a sixth of its work.
RECOMPUTED = 3


class PublishedNetwork(nn.Module):
    """Frames, flow and sentences in; masks out, in the three steps of `Network`: observe, read, decide.

    As published but for what does not change the numbers: a sentence is read once a clip, the last layer and
    the fusion see the target frame only, and what does not hang on the sentence is computed once a clip.
    """

    fitted_to_cpu = True  # in training and scoring as well: mmvs/model/inference.py
    released = RELEASED  # what the authors' weights are of

    def __init__(self, model: Published | None = None, vocabulary: int = 0):
        """Without a model: the network as released, with random weights until `load_released`."""
        super().__init__()
        released, model = model is None, model or RELEASED
        self.quirks, self.max_words = model.quirks, model.language.max_words
        d = model.width
        self.appearance = AppearanceEncoder(model.appearance_backbone, dilated=True)
        self.motion = MotionEncoder(model.motion_backbone, dilated=True)
        self.recomputed = 0 if model.appearance_backbone.name == "narrow" else RECOMPUTED
        hold_resolution(self.appearance.body["layer4"], partly=False)
        hold_resolution(self.motion.body["layer4"], partly=model.quirks.dilation)
        reader = (
            BertModel(BertConfig(), add_pooling_layer=False)
            if released
            else language_model(model.language, vocabulary)
        )
        if reader.config.model_type == "clip_text_model":
            raise ValueError(
                "model.language.name: the published network reads a sentence by its first token, which knows "
                "nothing of the others in CLIP: take BERT or a relative"
            )
        if released or model.language.name != "small":
            embeddings = getattr(reader, "embeddings", None) or reader.get_input_embeddings()
            embeddings.requires_grad_(False)  # as published: fine-tuned without its vocabulary
        self.language = PublishedLanguage(reader, d, model.language.frozen)

        encoders = (self.appearance, self.motion)
        self.contexts = nn.ModuleList(Context(encoder.widths[-1], d) for encoder in encoders)
        self.transformer = PublishedTransformer(
            d, model.heads, model.layers, model.dropout, model.quirks.masked_keys
        )
        self.fusions = nn.ModuleList(
            PublishedFusion(*widths, d, model.quirks.gate)
            for widths in zip(*(encoder.widths[:-1] for encoder in encoders), strict=True)
        )
        self.head = nn.Sequential(
            nn.Conv2d(d, d, 3, padding=1, bias=False),
            nn.BatchNorm2d(d),
            nn.ReLU(inplace=True),
            nn.Conv2d(d, 1, 1),
        )
        self.contrast = Contrast(len(self.fusions), d, reader.config.hidden_size)

    @classmethod
    def from_released(cls, path: str | Path) -> PublishedNetwork:
        """The authors' network with the weights of their checkpoint, in eval mode.

        Raises FileNotFoundError, or ValueError naming the file and the keys that do not fit.
        """
        network = cls()
        try:
            network.load_released(read_released(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return network.eval()

    @staticmethod
    def is_released(path: str | Path) -> bool:
        """Whether a file has the authors' names of tensors; False where it cannot be read."""
        return is_released(path)

    def load_released(self, state_dict: dict[str, Tensor]) -> None:
        """Take the authors' weights by the authors' keys; ValueError names every key that does not fit."""
        self.load_state_dict(translate(state_dict, self.state_dict()))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """As of `Network`."""
        return {
            "backbones": [*self.appearance.parameters(), *self.motion.parameters()],
            "language": list(self.language.bert.parameters()),
        }

    def forward(
        self,
        batch: Batch | Tensor,
        flow: Tensor | None = None,
        tokens: Tensor | None = None,
        attention: Tensor | None = None,
    ) -> Prediction | Tensor:
        """Segment every sentence of a Batch in its clip's target frame: a Prediction.

        Or, as the authors call it, with four tensors: frames and rendered flow (B, T, 3, H, W), both
        normalised, the target last; tokens and attention (B, L), a sentence a clip → logits (B, 1, H, W).
        """
        if isinstance(batch, Batch):
            clips, frames = batch.frames.shape[:2]
            targets = torch.arange(clips, device=batch.frames.device) * frames + batch.target
            # Read first: what is done last is the first to be undone, and BERT's gradients are as large as
            # what the backbones keep for theirs.
            sentences = self.read(batch.words, batch.words_mask)
            valid = batch.valid.repeat_interleave(frames, 0)
            observed = self.observe(batch.frames.flatten(0, 1), batch.flow.flatten(0, 1), targets, valid)
            observed.tops = [top.unflatten(0, (clips, frames)) for top in observed.tops]
            return self.decide(observed, sentences, batch.clip_of_sentence, batch.target)
        return self.segment(*self.as_observed(batch, flow, tokens, attention))

    def as_observed(
        self, frames: Tensor, flow: Tensor, tokens: Tensor, attention: Tensor
    ) -> tuple[Observed, Sentences, Tensor, int]:
        """The authors' four tensors (see `forward`) as the arguments of `decide`."""
        clips, length = frames.shape[:2]
        own, target = torch.arange(clips, device=frames.device), length - 1
        mask = attention.bool()
        sentences = Sentences(*self.language(tokens, mask), mask)  # first, as in `forward`
        observed = self.observe_images(frames.flatten(0, 1), flow.flatten(0, 1), own * length + target)
        observed.tops = [top.unflatten(0, (clips, length)) for top in observed.tops]
        return observed, sentences, own, target

    def observe(
        self, frames: Tensor, flow: Tensor, targets: Tensor | None = None, valid: Tensor | None = None
    ) -> Observed:
        """All that does not depend on language, frame by frame.

        frames   (F, 3, H, W) uint8 RGB
        flow     (F, 2, H, W) float, pixels per frame
        targets  positions of the frames whose fine levels are needed, None for all
        valid    (F, H, W) or (H, W) bool, False on the padding around the picture; None: there is none

        Returns Observed: tops (F, D, h, w) of appearance and motion; levels (F, 2D, h_k, w_k), fine to
        coarse: what both contribute to the fusions.
        """
        return self.observe_images(*self.images(frames, flow, valid), targets)

    def images(self, frames: Tensor, flow: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`observe`'s frames and flow as the backbones see them: (F, 3, H, W) both, normalised."""
        wheels = self.motion.images(flow)
        if self.quirks.border and self.motion.wheel is not None and valid is not None:
            black = -self.motion.mean / self.motion.std
            wheels = torch.where(valid.unsqueeze(-3), wheels, black)
        return self.appearance.images(frames), wheels

    def observe_images(self, frames: Tensor, flow: Tensor, targets: Tensor | None = None) -> Observed:
        """`observe`, of frames and rendered flow (F, 3, H, W) that are normalised already."""
        pairs = (self.appearance, frames), (self.motion, flow)
        appearance, motion = (_encoded(*pair, self.recomputed) for pair in pairs)
        kept = slice(None) if targets is None else targets
        pyramid = zip(self.fusions, appearance.levels, motion.levels, strict=True)
        return Observed(
            tops=[context(x.top) for context, x in zip(self.contexts, (appearance, motion), strict=True)],
            levels=[fusion.observe(ours[kept], flowing[kept]) for fusion, ours, flowing in pyramid],
            size=frames.shape[-2:],
        )

    def read(self, words: Tensor, words_mask: Tensor) -> Sentences:
        """Sentences (N, L) of token ids → Sentences; its summary is BERT's own state of [CLS], (N, C).

        Where masked keys count, every sentence is padded to the length that the weights were trained with.
        """
        missing = self.max_words - words.shape[1]
        if self.quirks.masked_keys and missing > 0:
            words, words_mask = F.pad(words, (0, missing)), F.pad(words_mask, (0, missing))
        return Sentences(*self.language(words, words_mask), words_mask)

    def decide(
        self, observed: Observed, sentences: Sentences, clip_of_sentence: Tensor, target: int
    ) -> Prediction:
        """What each sentence means in its window; arguments as of `Network.decide`.

        Returns a Prediction: (N, H, W). This network has no stage 1: `coarse` and `decoder` are its maps of
        how well appearance and motion agree with the sentence, and `appearance`, `motion`, `sentence` (and
        `encoded`, `words`) what these compare.
        """
        logits, *streams, attention = self._decide(observed, sentences, clip_of_sentence, target, True)
        appearance, motion, sentence = self.contrast(*streams, sentences.summary)
        agreement = (torch.einsum("ndhw,nd->nhw", x, sentence)[:, None] for x in (appearance, motion))
        coarse, decoder = (torch.tan(x.clamp(-0.95, 0.95) * (torch.pi / 2)) for x in agreement)
        return Prediction(
            logits=resized(logits, observed.size)[:, 0],
            coarse=resized(coarse, observed.size)[:, 0],
            decoder=resized(decoder, observed.size)[:, 0],
            appearance=appearance,
            motion=motion,
            sentence=sentence,
            attention=attention,
            encoded=appearance,
            words=sentence,
        )

    def segment(
        self, observed: Observed, sentences: Sentences, clip_of_sentence: Tensor, target: int
    ) -> Tensor:
        """The masks' logits (N, 1, H, W) alone, without what training and figures need beside them."""
        return resized(self._decide(observed, sentences, clip_of_sentence, target)[0], observed.size)

    def _decide(
        self,
        observed: Observed,
        sentences: Sentences,
        clip_of_sentence: Tensor,
        target: int,
        with_attention: bool = False,
    ) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor | None]:
        """Logits (N, 1, h, w) of the finest level; all levels' appearance and motion; attention to words."""
        tops = (top[clip_of_sentence] for top in observed.tops)
        words, mask = sentences.words, sentences.mask
        features, attention = self.transformer(words, mask, *tops, target, with_attention)
        appearance, motion = [], []
        for fusion, level in zip(reversed(self.fusions), reversed(observed.levels), strict=True):
            *streams, features = fusion(level[clip_of_sentence], words[:, 0], features)
            for levels, stream in zip((appearance, motion), streams, strict=True):
                levels.insert(0, stream)
        return self.head(features), appearance, motion, attention


def _encoded(encoder: AppearanceEncoder | MotionEncoder, images: Tensor, again: int) -> Features:
    """`encode` with channels last: pooling is many times faster so. The first `again` parts: `recomputed`."""
    levels = [layer for name, layer in encoder.body.items() if name.startswith("layer")]
    stem = [layer for name, layer in encoder.body.items() if not name.startswith("layer")]
    x, outputs = images.contiguous(memory_format=torch.channels_last), []
    for part, layer in enumerate([nn.Sequential(*stem), *levels]):
        x = recomputed(layer, x) if part < again else layer(x)
        outputs.append(x)
    return Features(outputs[1:-1], outputs[-1])
