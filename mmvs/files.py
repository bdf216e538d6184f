"""A file appears whole or not at all: the one atomic writer of this package."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

PARTIAL = ".partial-*"  # of an unfinished file's name: hidden, so that nothing takes it for a result


@contextmanager
def whole(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Write a file elsewhere first; at the end of the block it takes the place of `path`, in one step.

    with whole(folder / "scores.json") as partial:
        partial.write_text(...)

    The partial file lies in the same folder and has the same suffix, as some libraries look at it. Where the
    block raises, the partial file goes, and `path` is what it was. Missing folders appear. OSError as of the
    disk.

    durable  the content is on the disk before it takes its place: a power cut leaves the old file or the new
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process's number tells whose it is; the rest keeps two threads of one process apart.
    partial = path.with_name(f".partial-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all; its line ends are those of the text.

    Names of files in another encoding, which Python holds as lone surrogates, become JSON's escapes.
    """
    with whole(path) as partial:
        partial.write_bytes(text.encode(errors="backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file as reports have it: indented, with a final newline."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """JSON text as reports have it: indented, with a final newline."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def regular(path: str | Path) -> Path:
    """The path; OSError where a pipe, a socket or a device lies there: who reads one may wait for ever.

    What the shell passes below /dev, such as `<(command)`, is meant to be read.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir() or path.is_relative_to("/dev")):
        raise OSError(errno.EINVAL, "not a file, but a pipe, a socket or a device", str(path))
    return path


def remove_partial(folder: str | Path, name: str = "") -> None:
    """Remove the partial files of killed jobs: of one file of a folder, by its name; or all below it."""
    folder = Path(folder)
    for partial in folder.glob(f"{PARTIAL}-{escape(name)}") if name else folder.rglob(PARTIAL):
        partial.unlink(missing_ok=True)
