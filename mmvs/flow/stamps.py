"""Which flow files were read whole and found good: nobody reads them again until something changes."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmvs.files import write_text
from mmvs.video.frames import frame_files

NAME = ".checked.json"  # in the folder of the flow; without it, everything is read once more
PATIENCE = 60  # seconds for others to write theirs


class Stamps:
    """By video id: size and time of the flow file and of the video when both were last compared.

    A stamp says that nothing was touched since, not that the disk is sound: damage that leaves size and time
    as they were is found where the file is read, by its checksums.
    """

    def __init__(self, root: Path, store: Any):
        """Read those of a folder.

        root   the folder of the flow
        store  estimator and resolution, as JSON has it: stamps of others do not count
        """
        self.path, self.store = root / NAME, store
        self._stamps, self._changed = self._kept(), set()

    def _kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(self.path.read_text())
            return dict(kept["stamps"]) if kept["store"] == self.store else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def fits(self, video_id: str, flow: Path, video: str | Path) -> bool:
        """Are flow file and video as they were when they were compared?"""
        return video_id in self._stamps and self._stamps[video_id] == _outside(flow, video)

    def add(self, video_id: str, flow: Path, video: str | Path) -> None:
        """Remember that flow file and video belong together, as they are now."""
        self._stamps[video_id] = _outside(flow, video)
        self._changed.add(video_id)

    def drop(self, video_id: str) -> None:
        """Forget one that is not good."""
        self._stamps.pop(video_id, None)
        self._changed.add(video_id)

    def write(self) -> None:
        """Keep them, and those that others wrote meanwhile; a folder that cannot be written goes without."""
        with suppress(OSError), FileLock(self.path.with_suffix(".lock"), timeout=PATIENCE):
            others = {name: stamp for name, stamp in self._kept().items() if name not in self._changed}
            own = {name: self._stamps[name] for name in self._changed if name in self._stamps}
            write_text(self.path, json.dumps({"store": self.store, "stamps": others | own}))


def _outside(flow: Path, video: str | Path) -> list[list[Any]] | None:
    """Name, bytes and time of change of the flow file and of each of the video's; None: one is gone."""
    try:
        files = [flow, *map(Path, frame_files(video))]
        states = [file.stat() for file in files]
    except OSError:
        return None
    return [[file.name, state.st_size, state.st_mtime_ns] for file, state in zip(files, states, strict=True)]
