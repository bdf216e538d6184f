"""CVAT's XML 1.1, for images and for video: polygons, ellipses, brush masks, tracks.

Frames of a track are numbers in the video, from 0. A track's mask in a frame between two of its shapes comes
from both where they have as many points; after a shape that is `outside` there is none. A frame in which
nothing is visible counts as not labelled: CVAT ends every shape of one frame with an `outside` in the next.

An object's name is the shape's attribute `object`, where its label has one; else `names_of_tracks` says it.
In images without that attribute, all shapes of a label are one object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, ParseError, fromstring

import cv2
import numpy as np

from mmvs.data.csv_files import DataError
from mmvs.data.own.labels import Draw, LabelledFrame, Labels, names_of_tracks, outline

DRAWN = ("polygon", "ellipse", "mask")
OBJECT = "object"  # the attribute that names an object


@dataclass
class _Shape:
    element: Element
    frame: int
    draw: Draw | None  # None: outside
    order: float  # the larger lies above


def read(content: bytes, name: str) -> Labels:
    """What an XML file says; DataError where it is none of CVAT's."""
    if b"<!ENTITY" in content:  # a few lines of it can grow to gigabytes
        raise DataError(f"{name}: defines entities, which CVAT does not: export it anew")
    try:
        root = fromstring(content)
    except (ParseError, ValueError) as error:
        raise DataError(f"{name}: damaged or not XML ({error}): export it anew") from None
    if root.tag != "annotations":
        raise DataError(f"{name}: not CVAT's XML, whose first tag is <annotations>, but <{root.tag}>")
    labels = Labels([])
    left_out = Counter(shape.tag for parent in root.iter() for shape in _undrawn(parent))
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
        labels.faults.append(f"{name}: {kinds}: they have no pixels and are left out; draw masks or polygons")
    try:
        _add_images(root, name, labels)
        _add_tracks(root, name, labels)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: an attribute is missing or no number ({error}): export it anew") from None
    return labels


def _undrawn(parent: Element) -> list[Element]:
    shapes = parent if parent.tag in ("image", "track") else ()
    return [shape for shape in shapes if shape.tag not in (*DRAWN, "tag") and shape.get("outside") != "1"]


def _add_images(root: Element, name: str, labels: Labels) -> None:
    sources, shared = _sources(root), set()
    for image in root.iter("image"):
        shapes = sorted(
            (shape for shape in image if shape.tag in DRAWN), key=lambda one: float(one.get("z_order", 0))
        )
        if not shapes:
            continue
        where, size = (
            f"{name}, image '{image.get('name')}'",
            (int(image.attrib["height"]), int(image.attrib["width"])),
        )
        path = PurePosixPath(image.attrib["name"].replace("\\", "/"))
        video = None if len(path.parts) > 1 else sources.get(image.get("task_id", ""), sources.get(""))
        frame = LabelledFrame(where, video, str(path), size)
        for shape in shapes:
            label = _object(shape) or shape.get("label", "1")
            frame.objects.append((label, _draw(shape, where)))
        seen = Counter(label for label, _ in frame.objects)
        shared |= {label for label, count in seen.items() if count > 1}
        labels.frames.append(frame)
    if shared:
        labels.notes.append(
            f"{name}: pictures with several shapes of {', '.join(sorted(shared))}: they are one object; an "
            f"attribute '{OBJECT}' would tell them apart"
        )


def _add_tracks(root: Element, name: str, labels: Labels) -> None:
    sources, sizes = _sources(root), _sizes(root)
    tracks = [
        (track, list(_shapes_of(track, f"{name}, track {track.get('id')}", labels)))
        for track in root.iter("track")
    ]
    tracks = [(track, shapes) for track, shapes in tracks if shapes]
    named = [_object_of(track) for track, _ in tracks]
    labelled = [
        (track.get("label", "1"), {(track.get("task_id"), one.frame) for one in shapes if one.draw})
        for (track, shapes), own in zip(tracks, named, strict=True)
        if own is None
    ]
    others, notes = names_of_tracks(labelled)
    labels.notes += [f"{name}: {note}" for note in notes]
    rest = iter(others)
    frames: dict[tuple[str, int], list[tuple[float, str, Draw]]] = {}
    for (track, shapes), own in zip(tracks, named, strict=True):
        object_name = own or next(rest)
        for shape in shapes:
            if shape.draw:
                place = track.get("task_id", ""), shape.frame
                frames.setdefault(place, []).append((shape.order, object_name, shape.draw))
    for (task, number), objects in frames.items():
        above = sorted(objects, key=lambda one: one[0])
        labels.frames.append(
            LabelledFrame(
                f"{name}, frame {number}",
                sources.get(task, sources.get("")),
                number,
                sizes.get(task, sizes.get("")),
                [(object_name, draw) for _, object_name, draw in above],
            )
        )


def _shapes_of(track: Element, where: str, labels: Labels) -> Iterator[_Shape]:
    """The shapes of a track in ascending frames, those between key frames as well."""
    elements = {
        int(one.attrib["frame"]): one for one in track if one.tag in DRAWN or one.get("outside") == "1"
    }
    gaps = 0
    for number in sorted(elements):
        one = elements[number]
        draw = None if one.get("outside") == "1" else _draw(one, f"{where}, frame {number}")
        shape = _Shape(one, number, draw, float(one.get("z_order", 0)))
        yield shape
        after = min((other for other in elements if other > number), default=number)
        if draw is None or after <= number + 1:
            continue
        end = elements[after]
        if one.tag == end.tag == "polygon" and len(_points(one)) == len(_points(end)):
            for between in range(number + 1, after):
                share = (between - number) / (after - number)
                points = _points(one) * (1 - share) + _points(end) * share
                draw = outline([points.ravel().tolist()], f"{where}, frame {between}")
                yield _Shape(one, between, draw, shape.order)
        else:
            gaps += after - number - 1
    if gaps:
        labels.notes.append(
            f"{where}: {gaps} frames between its shapes are not labelled: those shapes have other points"
        )


def _draw(shape: Element, where: str) -> Draw:
    if shape.tag == "polygon":
        return outline([_points(shape).ravel().tolist()], where)
    if shape.tag == "ellipse":
        values = [float(shape.get(key, 0)) for key in ("cx", "cy", "rx", "ry", "rotation")]
        return lambda size: _ellipse(*values, size)
    left, top, width, height = (int(float(shape.attrib[key])) for key in ("left", "top", "width", "height"))
    counts = np.array([int(number) for number in shape.attrib["rle"].split(",")])
    return lambda size: _brush(counts, (top, left), (height, width), size, where)


def _points(polygon: Element) -> np.ndarray:
    """(n, 2) x and y."""
    return np.array([list(map(float, point.split(","))) for point in polygon.attrib["points"].split(";")])


def _ellipse(x: float, y: float, a: float, b: float, turn: float, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, ((x - 0.5, y - 0.5), (2 * a, 2 * b), turn), 1, -1)
    return mask > 0


def _brush(
    counts: np.ndarray, corner: tuple[int, int], box: tuple[int, int], size: tuple[int, int], where: str
) -> np.ndarray:
    """CVAT's own run lengths: row by row within a box, from a run of background on."""
    (top, left), (height, width) = corner, box
    inside = min(top, left) >= 0 and top + height <= size[0] and left + width <= size[1]
    if not inside or (counts < 0).any() or counts.sum() != height * width:
        raise DataError(
            f"{where}: a brush mask of {box} (H, W) at {corner} does not fit its run lengths in {size}"
        )
    mask = np.zeros(size, bool)
    runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    mask[top : top + height, left : left + width] = runs.reshape(box)
    return mask


def _object(shape: Element) -> str | None:
    """The shape's attribute `object`."""
    found = (one.text for one in shape.iter("attribute") if one.get("name", "").lower() == OBJECT)
    return next((text.strip() for text in found if text and text.strip()), None)


def _object_of(track: Element) -> str | None:
    return next(filter(None, map(_object, track)), None)


def _sources(root: Element) -> dict[str, str]:
    """Task id to the name of its video; "" for the only one."""
    tasks = list(root.iter("task"))
    names = {task.findtext("id", ""): task.findtext("source") or task.findtext("name", "") for task in tasks}
    only = next(iter(names.values())) if len(names) == 1 else root.findtext("meta/source")
    return {task: name for task, name in (names | {"": only}).items() if name}


def _sizes(root: Element) -> dict[str, tuple[int, int]]:
    """Task id to (H, W) of its video; "" for the only one."""
    sizes = {}
    holders = [*root.iter("task"), *root.iter("job"), *root.findall("meta")]
    for holder in holders:
        if (size := holder.find("original_size")) is not None:
            own = int(size.findtext("height")), int(size.findtext("width"))
            sizes[holder.findtext("id", "")] = own
    return sizes | ({"": next(iter(sizes.values()))} if len(set(sizes.values())) == 1 else {})
