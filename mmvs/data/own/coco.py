"""JSON with polygons or run lengths: COCO's, its form for videos (YouTube-VIS), or a list of run lengths.

    COCO          {"images": [{"id", "file_name", ...}], "annotations": [{"image_id", "segmentation", ...}]}
    YouTube-VIS   {"videos": [{"id", "file_names", ...}], "annotations": [{"video_id", "segmentations", ...}]}
    a list        [{"video", "frame", "object", "segmentation": {"size", "counts"}}, ...]

An object's name is the annotation's `object`, `object_id`, `instance_id` or `track_id`, there or among its
`attributes`; else its category. In a picture, annotations of one name are one object.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from mmvs.data.csv_files import DataError
from mmvs.data.own.labels import Draw, LabelledFrame, Labels, names_of_tracks, outline, run_lengths

NAMES = ("object", "object_id", "instance_id", "track_id")
PIXELS = ("segmentation", "rle", "mask")


def read(content: bytes, name: str) -> Labels:
    """What a JSON file says; DataError where it is in none of the three forms."""
    try:
        root = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: damaged or not JSON ({error}): export it anew") from None
    try:
        if isinstance(root, list):
            return _read_list(root, name)
        if isinstance(root, dict) and isinstance(root.get("annotations"), list):
            if "images" in root:
                return _read_coco(root, name)
            if "videos" in root:
                return _read_videos(root, name)
    except DataError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{name}: a value is missing or of another kind ({error}): export it anew") from None
    raise DataError(
        f'{name}: not COCO, which has "images" and "annotations"; nor YouTube-VIS, which has "videos" and '
        '"annotations"; nor a list of {"video", "frame", "object", "segmentation"}'
    )


def _read_coco(root: dict[str, Any], name: str) -> Labels:
    categories, labels, shared, boxes = _categories(root), Labels([]), set(), 0
    frames: dict[Any, LabelledFrame] = {}
    for image in root["images"]:
        where = f"{name}, image '{image['file_name']}'"
        frames[image["id"]] = LabelledFrame(where, None, image["file_name"].replace("\\", "/"), _size(image))
    for one in root["annotations"]:
        if one["image_id"] not in frames:
            labels.faults.append(f"{name}, annotation {one.get('id')}: no image {one['image_id']}: left out")
            continue
        frame, code = frames[one["image_id"]], one.get("segmentation")
        if not code:
            boxes += 1
            continue
        own = _object(one)
        object_name = own or categories.get(one.get("category_id"), "1")
        if own is None and any(object_name == other for other, _ in frame.objects):
            shared.add(object_name)
        frame.objects.append((object_name, _draw(code, f"{frame.where}, annotation {one.get('id')}")))
    if boxes:
        labels.faults.append(f"{name}: {boxes} annotations are boxes alone, which have no pixels: left out")
    if shared:
        labels.notes.append(
            f"{name}: pictures with several of {', '.join(sorted(shared))}: they are one object; a track_id "
            "would tell them apart"
        )
    labels.frames = [frame for frame in frames.values() if frame.objects]
    return labels


def _read_videos(root: dict[str, Any], name: str) -> Labels:
    categories, labels = _categories(root), Labels([])
    videos = {video["id"]: video for video in root["videos"]}
    frames: dict[tuple[Any, int], LabelledFrame] = {}
    for video_id, video in videos.items():
        annotations = [one for one in root["annotations"] if one["video_id"] == video_id]
        every = [(one, {t for t, code in enumerate(one["segmentations"]) if code}) for one in annotations]
        labelled = [
            (categories.get(one.get("category_id"), "1"), seen) for one, seen in every if not _object(one)
        ]
        others, notes = names_of_tracks(labelled)
        labels.notes += [f"{name}, video '{_video_name(video)}': {note}" for note in notes]
        rest = iter(others)
        for one, seen in every:
            object_name = _object(one) or next(rest)
            for t in sorted(seen):
                place, video_name = _frame_of(video, t)
                where = f"{name}, video '{_video_name(video)}', entry {t} (from 0)"
                frame = frames.setdefault(
                    (video_id, t), LabelledFrame(where, video_name, place, _size(video))
                )
                frame.objects.append((object_name, _draw(one["segmentations"][t], where)))
    unknown = Counter(one["video_id"] for one in root["annotations"] if one["video_id"] not in videos)
    labels.faults += [f"{name}: {n} annotations of video {v}, which is not there" for v, n in unknown.items()]
    labels.frames = list(frames.values())
    return labels


def _read_list(records: list[Any], name: str) -> Labels:
    frames: dict[tuple[Any, Any], LabelledFrame] = {}
    for number, one in enumerate(records):
        where = f"{name}, entry {number} (from 0)"
        code = next((one[key] for key in PIXELS if key in one), one)
        video, place = one.get("video"), one["frame"]
        if not isinstance(place, (int, str)) or isinstance(place, bool):
            raise DataError(f"{where}: frame {place!r} is neither a number from 0 nor a name")
        frame = frames.setdefault((video, place), LabelledFrame(where, video, place))
        frame.objects.append((_object(one) or "1", _draw(code, where)))
    return Labels(list(frames.values()))


def _draw(code: Any, where: str) -> Draw:
    return outline(code, where) if isinstance(code, list) else run_lengths(code, where)


def _object(one: dict[str, Any]) -> str | None:
    attributes = one.get("attributes") if isinstance(one.get("attributes"), dict) else {}
    named = (holder[key] for holder in (one, attributes) for key in NAMES if holder.get(key) is not None)
    return next((str(value).strip() for value in named if not isinstance(value, (dict, list))), None)


def _categories(root: dict[str, Any]) -> dict[Any, str]:
    return {one["id"]: str(one["name"]) for one in root.get("categories", [])}


def _size(one: dict[str, Any]) -> tuple[int, int] | None:
    return (int(one["height"]), int(one["width"])) if one.get("height") and one.get("width") else None


def _video_name(video: dict[str, Any]) -> str:
    names = video.get("file_names") or [""]
    folder = names[0].replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
    return str(video.get("name") or folder or video["id"])


def _frame_of(video: dict[str, Any], t: int) -> tuple[str | int, str | None]:
    """The frame of entry t, by the name of its picture where the file has one; and the video."""
    if names := video.get("file_names"):
        return names[t].replace("\\", "/").rpartition("/")[2], _video_name(video)
    return t, _video_name(video)
