"""A small tree in the layout of RefCOCO, RefCOCO+ or RefCOCOg: invented pictures, outlines and sentences."""

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from mmvs.data.refcoco_files import REFS, SPLITS

SIZE = 40, 60  # (H, W)
BOXES = {1: (4, 6, 14, 26), 2: (20, 30, 36, 50)}  # of an object of each picture: top, left, bottom, right


def write(root: Path, name: str) -> Path:
    """Two pictures a split, each with two objects of which one has polygons and the other run lengths."""
    pictures = root / "images" / "mscoco" / "images" / "train2014"
    pictures.mkdir(parents=True, exist_ok=True)
    (root / name).mkdir()
    content, refs = {"images": [], "annotations": []}, []
    for number in range(1, 2 * len(SPLITS[name]) + 1):
        file = f"COCO_train2014_{number:012d}.jpg"
        picture = np.random.default_rng(number).integers(0, 90, (*SIZE, 3), np.uint8)
        content["images"].append({"id": number, "file_name": file, "height": SIZE[0], "width": SIZE[1]})
        for k, (top, left, bottom, right) in BOXES.items():
            picture[top:bottom, left:right] = (250, 30, 30)
            own = 100 * number + k
            outline = [[left, top, right, top, right, bottom, left, bottom]]
            if k == 2:  # uncompressed run lengths, column by column
                mask = np.zeros(SIZE, int)
                mask[top:bottom, left:right] = 1
                flat = mask.ravel(order="F")
                edges = np.flatnonzero(np.diff(flat)) + 1
                outline = {"size": list(SIZE), "counts": np.diff([0, *edges, flat.size]).tolist()}
            content["annotations"].append({"id": own, "image_id": number, "segmentation": outline})
            sentences = [
                {"sent": f"thing {k} {where}", "raw": f"Thing {k} {where}!", "sent_id": own, "tokens": []}
                for where in ("on the left", "in  red")
            ]
            refs.append({
                "ref_id": own, "ann_id": own, "image_id": number, "category_id": 1, "sent_ids": [own],
                "split": SPLITS[name][(number - 1) // 2], "sentences": sentences,
                "file_name": f"COCO_train2014_{number:012d}_{own}.jpg",
            })  # fmt: skip
        content["annotations"].append({"id": 100 * number + 9, "image_id": number, "segmentation": [[0, 0]]})
        Image.fromarray(picture).save(pictures / file)
    (root / name / "instances.json").write_text(json.dumps(content))
    (root / name / REFS[name]).write_bytes(pickle.dumps(refs, protocol=0))  # as Python 2 wrote them
    return root
