"""Checkpoint files: written whole, and refused by name when a byte of them has changed since."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mmvs.files import regular, whole, write_text

SEAL = b"mmvs-crc32:"  # begins the comment of a checkpoint
SUMS = "SHA256SUMS"  # of a saved model's files; `sha256sum --check SHA256SUMS` compares them too


class CheckpointError(ValueError):
    """A file or folder that holds no model of ours; the text names it and says why."""


def write(content: dict[str, Any], path: str | Path) -> None:
    """Write tensors and plain values, whole or not at all, on any file system; OSError as the disk does.

    The file is torch's: a zip archive, whose comment is the CRC-32 of all that stands before it.
    """
    with whole(path, durable=True) as partial, partial.open("w+b") as file:
        try:
            torch.save(content, file)
            _seal(file)
        except RuntimeError as error:  # of torch's own end of the file, which hides that the disk is full
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read(path: str | Path, mmap: bool = True) -> dict[str, Any]:
    """What training wrote: `state_dict`, `global_step`, `mmvs`, and what a resumed training needs.

    mmap  tensors are read from the file when they are used: for whoever copies them at once

    Nothing but tensors and plain values is unpickled. Raises FileNotFoundError; CheckpointError, naming the
    file, where it is torn, damaged (it is compared with its checksum) or of another kind.
    """
    path = Path(path)
    try:
        _compare_seal(regular(path))
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        json.loads(content["mmvs"]["experiment"]), content["state_dict"].items(), content["global_step"]
        return content
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds: a pickle that runs code, other keys, other versions
        raise CheckpointError(
            f"{path} is no checkpoint of mmvs.training, or damaged ({reason(error)})"
        ) from None


def _seal(file: BinaryIO) -> None:
    """Add the checksum of a zip archive without comment as its comment, as long as the last two bytes say."""
    end = file.seek(-2, os.SEEK_END)
    seal = SEAL + b"%08x" % _crc(file, end)
    file.write(len(seal).to_bytes(2, "little") + seal)


def _compare_seal(path: Path) -> None:
    """ValueError where an archive is not what was written."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        if archive.comment.startswith(SEAL):
            end = path.stat().st_size - len(archive.comment) - 2
            if archive.comment != SEAL + b"%08x" % _crc(file, end):
                raise ValueError("its checksum differs")
            return
        # Of an earlier version, or torch's own: every record has a checksum, which torch does not compare.
        if damaged := archive.testzip():
            raise ValueError(f"damaged at '{damaged}'")
        if any(record.external_attr for record in archive.infolist()):  # torch would read a folder's as noise
            raise ValueError("damaged in its list of records")


def _crc(file: BinaryIO, end: int) -> int:
    """CRC-32 of a file's first bytes; leaves the file there."""
    file.seek(0)
    crc, left = 0, end
    while left and (part := file.read(min(left, 2**20))):
        crc, left = zlib.crc32(part, crc), left - len(part)
    file.seek(end)
    return crc


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
