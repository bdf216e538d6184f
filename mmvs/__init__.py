"""Text-based video segmentation with appearance, motion and language (Zhao et al., CVPR 2022).

    Sample --data.clips--> Clip --collate--> Batch --model.Network--> Prediction
                                                                          |
                 checkpoints <--training-- loss <--losses.Objective-------+
                metrics.json <--evaluation-- masks <--answers-------------+

`video` decodes, `data` reads A2D-Sentences and J-HMDB-Sentences (`shapes` writes the embedded data set,
`verify` checks a copy), `flow` estimates and stores optical flow. `model` is the network, `published` that of
the authors' code, `build` the table of both. `segmenter` segments any video, `report` draws from what lies on
disk.
"""

import warnings
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mmvs")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

# Where ipywidgets is missing tqdm draws its bar as text, as it should; it need not warn of that in red.
warnings.filterwarnings("ignore", "IProgress not found")
