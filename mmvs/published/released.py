"""The authors' state dict in our names: what is neither used nor known to be unused is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

# Ours begins with → theirs begins with; the first that fits counts.
_GUIDED = "LanguagemodelGuidedSegmentation."
_NAMES = {
    r"appearance\.body\.": "Visionmodel.backbone.",
    r"motion\.body\.": "Flowmodel.",
    r"language\.bert\.": "Languagemodel.Languagemodel.",
    r"language\.project\.": f"{_GUIDED}language_project.conv.",
    r"language\.norm\.": f"{_GUIDED}language_project.bn.",
    r"contexts\.0\.aspp\.": f"{_GUIDED}aspp.",
    r"contexts\.1\.aspp\.": f"{_GUIDED}flow_aspp.",
    r"contexts\.0\.place\.": f"{_GUIDED}fuse_feature_post_rgb.",
    r"contexts\.1\.place\.": f"{_GUIDED}fuse_feature_post_flow.",
    r"transformer\.blocks\.": f"{_GUIDED}language_guided_segmentation.transformer.layers.",
    r"fusions\.0\.": f"{_GUIDED}up_8_4.",
    r"fusions\.1\.": f"{_GUIDED}up_16_8.",
    r"fusions\.2\.": f"{_GUIDED}up_16_16.",
    r"head\.0\.": f"{_GUIDED}conv.",
    r"head\.1\.": f"{_GUIDED}bn.",
    r"head\.3\.": f"{_GUIDED}conv_2.",
    r"contrast\.project_appearance\.": "contrastive.vision_proj.",
    r"contrast\.project_motion\.": "contrastive.flow_proj.",
    r"contrast\.project_language\.": "contrastive.language_proj.",
    r"contrast\.appearance\.": f"{_GUIDED}fuse_rgb.",
    r"contrast\.motion\.": f"{_GUIDED}fuse_flow.",
}
# What follows within the parts: their name of ours.
_WITHIN = [
    (r"(layers\.\d+)\.norm_frame\.", r"\1.0."),
    (r"(layers\.\d+)\.frame\.", r"\1.1."),
    (r"(layers\.\d+)\.norm_time\.", r"\1.2."),
    (r"(layers\.\d+)\.time\.", r"\1.3."),
    (r"(layers\.\d+)\.norm_cells\.", r"\1.4."),
    (r"(layers\.\d+)\.feed_forward\.", r"\1.5.net."),
    (r"(layers\.\d+\.[13])\.query\.", r"\1.to_q."),
    (r"(layers\.\d+\.[13])\.key\.", r"\1.to_k."),
    (r"(layers\.\d+\.[13])\.value\.", r"\1.to_v."),
    (r"(layers\.\d+\.[13])\.out\.", r"\1.to_out."),
    (r"(up_\w+)\.appearance\.", r"\1.vision_f."),
    (r"(up_\w+)\.motion\.", r"\1.flow_f."),
    (r"(up_\w+)\.language\.", r"\1.language_f."),
    (r"(up_\w+)\.enhance_appearance\.", r"\1.enhance_vision_f."),
    (r"(up_\w+)\.enhance_motion\.", r"\1.enhance_flow_f."),
    (r"(up_\w+)\.gate_appearance\.", r"\1.vision_to_attention."),
    (r"(up_\w+)\.gate_motion\.", r"\1.flow_to_attention."),
    (r"(up_\w+)\.out\.0\.", r"\1.out_conv.conv1."),
    (r"(up_\w+)\.out\.1\.", r"\1.out_conv.conv2."),
    (r"(fuse_(?:rgb|flow))\.0\.", r"\1.f_4.0."),
    (r"(fuse_(?:rgb|flow))\.1\.", r"\1.f_8.0."),
    (r"(fuse_(?:rgb|flow))\.2\.", r"\1.f_16.0."),
]
# In their file but not in what they compute: a head of BERT's, a layer that nothing calls, and constants.
UNUSED = re.compile(
    r"Languagemodel\.Languagemodel\.(pooler\.dense\.(weight|bias)|embeddings\.(position_ids|token_type_ids))"
    r"|LanguagemodelGuidedSegmentation\.((flow_)?aspp\.embedding_project\.\d\.\w+|(up_\w+\.)?spatial_pos)"
)
_TWIN = ("model.", "Visionmodel.")  # the appearance backbone stands under both


def their_name(ours: str) -> str:
    """The authors' key of one of our parameters or buffers."""
    for start, replacement in _NAMES.items():
        if re.match(start, ours):
            theirs = replacement + ours[re.match(start, ours).end() :]
            break
    else:
        raise KeyError(f"no published name of {ours}")
    if not theirs.startswith(_GUIDED):
        return theirs
    for pattern, replacement in _WITHIN:
        theirs = re.sub(pattern, replacement, theirs)
    return theirs


def translate(released: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' state dict by our names and in our shapes.

    released  theirs; the appearance backbone under either of its names or both
    ours      the state dict to be filled: its names and shapes count

    Raises ValueError naming every key that is unknown, of another shape, or differs between its two copies,
    and those that are missing (of more than 20, the first).
    """
    if released and all(key.startswith("module.") for key in released):  # saved from nn.DataParallel
        released = {key.removeprefix("module."): value for key, value in released.items()}
    theirs_left, spelling, problems, missing = {}, {}, [], []
    for key, value in released.items():
        name = _TWIN[1] + key.removeprefix(_TWIN[0]) if key.startswith(_TWIN[0]) else key
        spelling[name] = key
        if name in theirs_left and not torch.equal(theirs_left[name], value):
            problems.append(f"its two copies differ: {name}")
        theirs_left[name] = value
    translated = {}
    for name, like in ours.items():
        theirs = their_name(name)
        value = theirs_left.pop(theirs, None)
        if value is None:
            missing.append(f"missing: {theirs}")
        elif _squeezed(value.shape) != _squeezed(like.shape):
            problems.append(f"shape {tuple(value.shape)}, expected {tuple(like.shape)}: {theirs}")
        else:
            translated[name] = value.reshape(like.shape)
    problems += [f"unknown: {spelling[name]}" for name in theirs_left if not UNUSED.fullmatch(name)]
    if problems or missing:
        more = [f"and {len(missing) - 20} more are missing"] if len(missing) > 20 else []
        shown = "\n  ".join([*problems, *missing[:20], *more])
        count = len(problems) + len(missing)
        raise ValueError(
            f"these are not the published network's weights, {count} keys do not fit:\n  {shown}"
        )
    return translated


def read_released(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, by the authors' keys; nothing but tensors is unpickled.

    Raises FileNotFoundError, or ValueError on a file that holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}: give the checkpoint that the authors released")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: of an empty, a torn, a foreign file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"no file of tensors; save a state dict alone ({reason})") from None
    for wrapped in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapped), dict):
            content = content[wrapped]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError("no state dict: expected tensors by name")
    return content


def is_released(path: str | Path) -> bool:
    """Whether a file has the authors' names of tensors; False where it cannot be read."""
    try:
        return any(_GUIDED in str(key) for key in read_released(path))
    except (OSError, ValueError):
        return False


def _squeezed(shape: torch.Size) -> list[int]:
    """A Linear of ours is a convolution of one cell of theirs: trailing ones do not count."""
    sizes = list(shape)
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes.pop()
    return sizes
