"""Checkpoint files: written whole, and refused by name when a byte of them has changed since."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from mmvs.files import regular, whole, write_text

SUMS = "SHA256SUMS"  # of a saved model's files; `sha256sum --check SHA256SUMS` compares them too


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
        with zipfile.ZipFile(regular(path)) as archive:  # torch itself compares no checksum
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


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the SHA-256 of files of a folder beside them; names are relative, with slashes."""
    write_text(folder / SUMS, "".join(f"{_sha256(folder / name)}  {name}\n" for name in sorted(names)))


def compare_sums(folder: Path, names: Iterable[str]) -> None:
    """CheckpointError, naming the file, where one differs from its SHA-256, has none, or is missing.

    A folder without SHA256SUMS, as earlier versions wrote it, is not compared. Reads 1 GB a second.
    """
    path, names = folder / SUMS, set(names)
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    sums = {match[2]: match[1] for line in lines if (match := re.fullmatch(r"([0-9a-f]{64})  (.+)", line))}
    if len(sums) < len(lines):
        raise CheckpointError(f"{path} is damaged: save the model anew, or download it anew")
    if others := sorted(names ^ sums.keys()):
        state = "is missing" if others[0] in sums else f"is not in {SUMS}"
        raise CheckpointError(f"{folder / others[0]} {state}: save the model anew, or download it anew")
    for name in sorted(names):
        if _sha256(folder / name) != sums[name]:
            raise CheckpointError(
                f"{folder / name} is damaged, or was changed: its SHA-256 is not that of {SUMS}. Download it "
                f"anew; if the change is yours, delete {SUMS}"
            )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """The kind of an error and its first sentence."""
    return f"{type(error).__name__}: {str(error).partition('. ')[0]}"
