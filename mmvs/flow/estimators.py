"""Estimators of optical flow behind one small interface, and their error.

The flow of frame t says where its pixels are in frame t + 1: (u, v) in pixels, u to the right, v down.
The last frame repeats the flow of the one before it. The flow of a single frame is 0.
`mmvs.flow.store` keeps the results on disk.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import islice, pairwise
from typing import Any

import cv2
import numpy as np

from mmvs.config import Flow, resolve
from mmvs.processes import device, devices, use_device

# Functions below import torch, torchvision and ptlflow where they need them. Without these a process that
# computes DIS flow starts in half a second; ptlflow alone takes ten.

RAFT_SMALLEST = 128  # pixels a side: RAFT halves its 1/8 feature map three times and needs 2 cells left
RAFT_STRIDE = 8
PAIRS = 8  # at once, of a network on a GPU; of large frames fewer:
PIXELS = 1 << 20  # of all pairs together


class FlowError(ValueError):
    """No flow, or none to trust; the text names the file or the setting, and the way out."""


class Estimator(ABC):
    """From two frames to flow. `fingerprint` holds all that decides the result, ready for JSON."""

    name: str
    fingerprint: dict[str, Any]

    @abstractmethod
    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Two uint8 RGB frames (H, W, 3) → flow float32 (2, H, W) in their pixels; FlowError on failure."""

    def between(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """n + 1 frames that follow each other → n flows; raises as a call."""
        return [self(*pair) for pair in pairwise(frames)]

    def pairs_at_once(self, height: int, width: int) -> int:
        """How many pairs of such frames `between` should be given."""
        return 1

    def devices(self, processes: int) -> list[str]:
        """Where so many processes compute, one each; fewer where there are not as many devices."""
        return ["cpu"] * processes

    @property
    @abstractmethod
    def model(self) -> Any:
        """The estimator proper, built at first use; FlowError where it cannot be built."""

    @abstractmethod
    def settle(self, device: str) -> None:
        """Begin in one of several processes: on this device, with one thread, as cores are shared."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the model, which a copy in another process builds anew: DIS does not pickle."""
        return {key: value for key, value in self.__dict__.items() if key != "model"}


class Dis(Estimator):
    """Dense inverse search (Kroeger et al., ECCV 2016) as in OpenCV: no weights, fast on a CPU."""

    def __init__(self, settings: Flow):
        self.name = "dis"
        self.preset, self.finest_scale = settings.preset, settings.finest_scale
        self.fingerprint = {"name": self.name, "preset": self.preset, "finest_scale": self.finest_scale}
        self.fingerprint["version"] = f"opencv {cv2.__version__}"

    @cached_property
    def model(self) -> cv2.DISOpticalFlow:
        dis = cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.preset.upper()}"))
        dis.setFinestScale(self.finest_scale)  # where it leaves no coarser scale, OpenCV takes a finer one
        return dis

    def settle(self, device: str) -> None:
        """DIS knows no other device than the CPU."""
        cv2.setNumThreads(1)

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
        try:
            flow = self.model.calc(*grey, None)
        except cv2.error as error:
            raise FlowError(f"DIS cannot take frames of {first.shape[:2]} pixels: {error.err}") from None
        return np.ascontiguousarray(flow.transpose(2, 0, 1))


class Network(Estimator):
    """A network of a library."""

    def __init__(self, name: str, library: str, weights: str | None, published: dict[str, str]):
        """Choose the weights; FlowError where they are neither published nor a file.

        name       of the estimator in the configuration
        library    of the network, for the fingerprint
        weights    a published name, a file, "random" (the same each time), or None: the first published ones
        published  name of weights → their file name, which carries a hash of the content; the best first
        """
        if weights is None and not published:
            raise FlowError(
                f"{name}: {library} publishes no weights of it: give flow.weights a file, or 'random'"
            )
        weights = weights or next(iter(published))
        self.name, self.weights = name, None if weights == "random" else weights
        self.fingerprint = {"name": name, "version": f"{library} {version(library)}"}
        if weights == "random":
            self.fingerprint["weights"] = "random"
        elif weights in published:
            self.fingerprint["weights"] = published[weights]
        elif resolve(weights).is_file():
            self.weights = str(resolve(weights))
            self.fingerprint["weights"] = hashlib.sha256(resolve(weights).read_bytes()).hexdigest()
        else:
            names = ", ".join(published) or "none"
            raise FlowError(
                f"flow.weights '{weights}' of {name}: no such file, nor published ({names}), nor 'random'"
            )

    @abstractmethod
    def build(self) -> Any:
        """The torch module, weights loaded."""

    @abstractmethod
    def infer(self, first: Any, second: Any) -> Any:
        """Padded uint8 RGB tensors (n, 3, H, W) on the model's device → n flows (n, 2, H, W) in pixels."""

    @cached_property
    def model(self) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # random weights: every process draws the same ones
            try:
                network = self.build()
            except Exception as error:  # network down, truncated file, weights of another model
                raise FlowError(f"{self.name}: weights '{self.weights}' do not load: {error}") from error
        return network.eval().to(device())

    def settle(self, device: str) -> None:
        """The weights go to this device when they are first used."""
        import torch

        torch.set_num_threads(1)
        use_device(device)

    def pairs_at_once(self, height: int, width: int) -> int:
        """Several on a GPU, which a pair of small frames does not fill; a CPU gains nothing."""
        return 1 if device().type == "cpu" else max(1, min(PAIRS, PIXELS // (height * width)))

    def devices(self, processes: int) -> list[str]:
        """A GPU for each process; without GPUs, the CPU for all."""
        return devices()[:processes] if device().type == "cuda" else [str(device())] * processes

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return self.between([first, second])[0]

    def between(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All pairs in one batch."""
        import torch

        height, width = frames[0].shape[:2]
        down, right = (max(-side % RAFT_STRIDE, RAFT_SMALLEST - side) for side in (height, width))
        device = next(self.model.parameters()).device
        padded = [np.pad(frame, ((0, down), (0, right), (0, 0)), mode="edge") for frame in frames]
        batch = torch.from_numpy(np.stack(padded)).permute(0, 3, 1, 2).to(device)
        with torch.inference_mode():
            flow = self.infer(batch[:-1], batch[1:])
        return list(flow[:, :, :height, :width].float().cpu().numpy())


class TorchvisionRaft(Network):
    """RAFT (Teed & Deng, ECCV 2020) of torchvision, inputs transformed as its weights ask."""

    def __init__(self, settings: Flow):
        from torchvision.models import get_model_weights

        self.published = get_model_weights(settings.estimator)
        members = {"DEFAULT": self.published.DEFAULT, **self.published.__members__}
        files = {name: weights.url.rsplit("/", 1)[-1] for name, weights in members.items()}
        super().__init__(settings.estimator, "torchvision", settings.weights, files)

    def build(self) -> Any:
        """torchvision's network, with its own weights or those of a file."""
        import torch
        from torchvision.models import get_model

        if self.weights is None or self.weights in self.published.__members__:
            return get_model(self.name, weights=self.weights and self.published[self.weights])
        network = get_model(self.name, weights=None)
        network.load_state_dict(torch.load(self.weights, map_location="cpu", weights_only=True))
        return network

    def infer(self, first: Any, second: Any) -> Any:
        """Frames (n, 3, H, W), and those after them → flow (n, 2, H, W), pixels per frame."""
        return self.model(*self.published.DEFAULT.transforms()(first, second))[-1]  # the last refinement


class PtlflowModel(Network):
    """Any model of ptlflow; its conventions: BGR in [0, 1], flow (B, 1, 2, H, W) at the input's size."""

    def __init__(self, settings: Flow):
        try:
            import ptlflow
        except ImportError as error:
            raise FlowError(f"flow.estimator '{settings.estimator}' needs ptlflow: {error}") from error

        self.key = settings.estimator.removeprefix("ptlflow:")
        if self.key not in ptlflow.get_model_names():
            known = ", ".join(ptlflow.get_model_names())
            raise FlowError(f"unknown flow.estimator '{settings.estimator}': ptlflow has {known}")
        published = getattr(ptlflow.get_model_reference(self.key), "pretrained_checkpoints", {})
        # Those of FlyingThings3D first: of all, they are made for no single kind of scene.
        names = sorted(published, key=lambda name: name != "things")
        files = {name: published[name].rsplit("/", 1)[-1] for name in names}
        super().__init__(settings.estimator, "ptlflow", settings.weights, files)

    def build(self) -> Any:
        """ptlflow's network, with the weights of a name or a file."""
        import ptlflow

        return ptlflow.get_model(self.key, ckpt_path=self.weights)

    def infer(self, first: Any, second: Any) -> Any:
        """Frames (n, 3, H, W), and those after them → flow (n, 2, H, W), pixels per frame."""
        import torch
        from ptlflow.utils.io_adapter import IOAdapter

        pairs = torch.stack([first, second], dim=1).flip(2).permute(0, 1, 3, 4, 2).cpu().numpy()
        adapter = IOAdapter(self.model.output_stride, pairs.shape[2:4], cuda=first.is_cuda)
        prepared = [adapter.prepare_inputs(list(pair)) for pair in pairs]
        inputs = {name: torch.cat([one[name] for one in prepared]) for name in prepared[0]}
        return adapter.unscale(self.model(inputs))["flows"][:, 0]


def estimator(settings: Flow) -> Estimator:
    """The estimator that the settings name; FlowError lists what exists, or what its weights can be."""
    if settings.estimator == "dis":
        return Dis(settings)
    if settings.estimator in ("raft_small", "raft_large"):
        return TorchvisionRaft(settings)
    if settings.estimator.startswith("ptlflow:"):
        return PtlflowModel(settings)
    try:
        models = f"any of ptlflow {version('ptlflow')}, such as ptlflow:raft_small"
    except PackageNotFoundError:
        models = "after installing ptlflow"
    raise FlowError(
        f"unknown flow.estimator '{settings.estimator}': there are dis, raft_small, raft_large, "
        f"ptlflow:<model> ({models})"
    )


def flows(estimate: Estimator, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """n uint8 RGB frames (H, W, 3) → n float32 flows (2, H, W) in pixels, with few frames in memory."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    size = first.shape[:2]
    flow = np.zeros((2, *size), np.float32)
    while following := list(islice(frames, estimate.pairs_at_once(*size))):
        for flow in estimate.between([first, *following]):  # noqa: B007  the last one is used below
            yield flow
        first = following[-1]
    yield flow


def endpoint_error(estimated: np.ndarray, exact: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean length in pixels of the difference of two flows (2, H, W), in a mask (H, W); nan if empty."""
    distances = np.linalg.norm(np.asarray(estimated, np.float64) - exact, axis=0)
    if mask is not None:
        distances = distances[np.asarray(mask, bool)]
    return float(distances.mean()) if distances.size else float("nan")
