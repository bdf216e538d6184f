"""How far the estimated flow of moving shapes is from their exact flow."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmvs.config import Experiment
from mmvs.data import catalogue
from mmvs.files import write_json
from mmvs.flow.estimators import endpoint_error, estimator
from mmvs.run_folder import RunFolder
from mmvs.shapes import writing
from mmvs.video.files import read_frames


def against_exact(experiment: Experiment, clips: int) -> pd.DataFrame:
    """Estimate the flow of some training clips as the pipeline does, from compressed video, and compare.

    Returns a row a clip: mean end-point error `inside` the objects and `outside`, and the objects' true mean
    `speed`, in pixels per frame. Annotated windows of the clip count, where all objects are in the picture.
    """
    settings, estimate = experiment.data.moving_shapes, estimator(experiment.flow)
    samples = catalogue.open("moving_shapes-train", experiment).samples
    rows = []
    for index in range(min(clips, settings.train_clips)):
        rendered = writing.render(settings, "train", index)
        frames = read_frames(samples.video_path(f"train{index:05d}"), range(len(rendered.frames)))
        for t in rendered.scene.annotated:
            flow, objects = estimate(frames[t], frames[t + 1]), rendered.masks[:, t].any(0)
            exact = rendered.flow[t]
            rows.append(
                {
                    "clip": index,
                    "inside": endpoint_error(flow, exact, objects),
                    "outside": endpoint_error(flow, exact, ~objects),
                    "speed": float(np.hypot(*exact)[objects].mean()),
                }
            )
    return pd.DataFrame(rows).groupby("clip").mean()


def save(summary: pd.Series, experiment: Experiment) -> None:
    """Write the means, in pixels, with the estimator they are of, to `flow_quality.json` of the run."""
    content = {"pixels": summary.to_dict(), "flow": experiment.flow.model_dump(mode="json")}
    write_json(RunFolder.of(experiment).flow_quality, content)
