"""Checkpoint files: written whole, and refused by name when a byte of them has changed since."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from mmvs.files import whole


class CheckpointError(ValueError):
    """A file or folder that holds no model of ours; the text names it and says why."""


def write(content: dict[str, Any], path: str | Path) -> None:
    """Write tensors and plain values, whole or not at all, on any file system; OSError as the disk does.

    The file is torch's: a zip archive that keeps a CRC-32 of every record, which `read` compares.
    """
    with whole(path, durable=True) as partial, partial.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # of torch's own end of the file, which hides that the disk is full
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read(path: str | Path, mmap: bool = True) -> dict[str, Any]:
    """What training wrote: `state_dict`, `global_step`, `mmvs`, and what a resumed training needs.

    mmap  tensors are read from the file when they are used: for whoever copies them at once

    Nothing but tensors and plain values is unpickled. Raises FileNotFoundError; CheckpointError, naming the
    file, where it is torn, damaged (each record is compared with its checksum) or of another kind.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself compares no checksum
            if damaged := archive.testzip():
                raise ValueError(f"damaged at '{damaged}'")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        json.loads(content["mmvs"]["experiment"]), content["state_dict"].items(), content["global_step"]
        return content
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds: a pickle that runs code, other keys, other versions
        raise CheckpointError(
            f"{path} is no checkpoint of mmvs.training, or damaged ({reason(error)})"
        ) from None


def reason(error: Exception) -> str:
    """The kind of an error and its first sentence."""
    return f"{type(error).__name__}: {str(error).partition('. ')[0]}"
