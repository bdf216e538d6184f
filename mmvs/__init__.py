"""Text-based video segmentation with appearance, motion and language (Zhao et al., CVPR 2022).

    Sample --data.clips--> Clip --collate--> Batch --model.Network--> Prediction
                                                                          |
             metrics.json <--evaluation-- masks  <--        losses.Objective

`data` reads A2D-Sentences' layout (`shapes` writes it), `flow` estimates and stores
optical flow, `model` is the network, `losses` and `metrics` judge it, `training` and
`evaluation` run it, `segmenter` asks it of any video, `report` draws from what they left on disk.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mmvs")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
