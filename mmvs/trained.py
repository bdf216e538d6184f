"""A trained network as one object: from a run, a checkpoint, the authors' file, a saved model, the hub.

A saved model is a folder: weights (safetensors), config.json (the experiment), `language` (the tokenizer, and
the architectures of BERT and of Hugging Face's backbones), SHA256SUMS of all these, and a model card. Loading
it needs no pretrained weights of anything else, runs no code that came with it, and reads no file beside it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin, snapshot_download
from safetensors.torch import save
from torch import nn
from transformers import PreTrainedTokenizerBase

from mmvs import checkpoints, config
from mmvs.build import build_empty, build_released, is_released, keep_architectures
from mmvs.checkpoints import CheckpointError, reason
from mmvs.config import ConfigError, Data, Experiment, Flow, resolve
from mmvs.data.words import kept_tokenizer, tokenizer
from mmvs.files import regular, whole, write_json
from mmvs.model.inference import as_scored
from mmvs.processes import device
from mmvs.run_folder import CheckpointFolder, RunFolder

DOWNLOAD_OPTIONS = ("revision", "cache_dir", "force_download", "local_files_only", "token")  # of the hub
CONFIG, WEIGHTS, LANGUAGE = "config.json", "model.safetensors", "language"  # of a saved model
Model = TypeVar("Model", bound="TrainedNetwork")

CARD = """---
{{ card_data }}
---
# Text-based video segmentation: {{ run }}

A video and an English sentence in; out comes, frame by frame, the mask of what the sentence describes.
A network of mmvs, a re-implementation of *Modeling Motion with Multi-Modal Features for Text-Based Video
Segmentation* (Zhao et al., CVPR 2022).

- trained on `{{ data }}`
- windows of {{ frames }} frames, {{ stride }} apart, of {{ size }} pixels; flow by `{{ flow }}`
- {{ weights }} weights; every parameter of the experiment is in `config.json` (fingerprint {{ fingerprint }})

```python
from mmvs.segmenter import Segmenter

segmenter = Segmenter.from_pretrained("this/model")
for answer in segmenter.segment("video.mp4", ["the red circle that goes up"]):
    answer.masks  # (1, H, W) bool
```

## Scores

{{ scores }}
## Limits

- It has seen `{{ data }}` and nothing else: other scenes, and sentences of another kind, are beyond it. It
  gives them a mask all the same. `mmvs segment` names the words that training never showed.
- A score is the mean foreground probability inside a mask. It is not calibrated: a mask of the wrong
  object can have a high one.
- A sentence is answered in each frame from {{ frames }} frames around it. Objects are not tracked, and
  nothing says that the video has no such object.

## Citation

```bibtex
@inproceedings{zhao2022modeling,
  title     = {Modeling Motion with Multi-Modal Features for Text-Based Video Segmentation},
  author    = {Zhao, Wangbo and Wang, Kai and Chu, Xiangxiang and Xue, Fuzhao and Wang, Xinchao and
               You, Yang},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages     = {11737--11746},
  year      = {2022}
}
```

## Licence

MIT, as the code. Data that it was trained on, and pretrained weights that it started from, may have terms of
their own; moving shapes, the embedded data set, has none.
"""


class TrainedNetwork(
    nn.Module,
    PyTorchModelHubMixin,
    model_card_template=CARD,
    library_name="mmvs",
    license="mit",
    pipeline_tag="image-segmentation",
    tags=["text-based-video-segmentation", "optical-flow"],
):
    """A network in eval mode, its tokenizer, and the experiment that trained them."""

    def __init__(
        self,
        experiment: Experiment,
        network: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        steps: int = 0,
        seconds: float = 0.0,
        skipped: int = 0,
        processes: int = 1,
        start: dict[str, Any] | None = None,
    ):
        """Put the network in eval mode, as the scores need it.

        steps      of the training behind it
        seconds    of that training
        skipped    batches that it left out; all three are 0 where nobody knows
        processes  that trained it together
        start      of a fine-tuned network: whose weights it started from, and their fingerprint
        """
        super().__init__()
        self.experiment, self.tokenizer = experiment, tokenizer
        self.network = as_scored(network).eval()
        self.steps, self.seconds, self.skipped, self.start = steps, seconds, skipped, start
        self.processes = processes

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    @classmethod
    def from_run(cls: type[Model], where: str | Path) -> Model:
        """Load the best checkpoint of `reports/<run>`; or a checkpoint, a saved model's folder, or a hub id.

        A checkpoint is one of ours, or the authors' released one, as `from_released` reads it.

        FileNotFoundError where a run has no checkpoint yet; CheckpointError on what holds no model of ours.
        """
        path = _locate(where)
        if path.is_file():
            theirs = path.suffix != ".ckpt" and is_released(path)  # ours may have gigabytes
            return cls.from_released(path) if theirs else cls.from_checkpoint(path)
        if (path / CONFIG).exists():
            return cls.from_pretrained(path).to(device())
        if (best := RunFolder(path).checkpoints.best).is_file():
            return cls.from_checkpoint(best)
        if path.suffix == ".ckpt":
            raise FileNotFoundError(f"no checkpoint {path}")
        if (path / WEIGHTS).exists():
            raise CheckpointError(f"{path} has {WEIGHTS}, but no {CONFIG}: save or download the model anew")
        if str(where).count("/") != 1 or path.parent.is_dir():
            command = f"python -m mmvs train params/{path.name}.yaml"
            raise FileNotFoundError(f"no {best}: train the run first, with `make report` or `{command}`")
        try:
            return cls.from_pretrained(str(where)).to(device())
        except OSError as error:  # of the hub: no such model, no network
            raise CheckpointError(f"{where} is no run's folder, and the hub says: {error}") from None

    @classmethod
    def from_checkpoint(
        cls: type[Model], checkpoint: str | Path, experiment: Experiment | None = None
    ) -> Model:
        """Load a checkpoint that training wrote, with the folder `vocabulary` beside it.

        experiment  of the checkpoint, where the caller knows it; None: as the checkpoint says

        FileNotFoundError where there is no file; CheckpointError, naming the file, on any other file.
        """
        checkpoint = _locate(checkpoint)
        if not checkpoint.is_file():
            raise FileNotFoundError(f"no checkpoint {checkpoint}: train it, `python -m mmvs train PARAMS`")
        content = checkpoints.read(checkpoint)
        experiment = experiment or _experiment(checkpoint, content)
        beside = CheckpointFolder(checkpoint.parent)
        vocabulary = beside.vocabulary
        own = experiment.model.language.name == "small"
        if not (vocabulary.is_dir() if own else (vocabulary / "config.json").is_file()):
            raise CheckpointError(f"{checkpoint}: the folder `vocabulary` that lay beside it is missing")
        try:
            words = tokenizer(experiment.model.language, vocabulary, [])
            network = build_empty(experiment.model, len(words), vocabulary)
        except Exception as error:  # of a vocabulary that is torn or of another version
            raise CheckpointError(f"{checkpoint}: {reason(error)}") from None
        prefix, weights = "network.", content["state_dict"]
        weights = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{checkpoint} is of another version of the network: move its folder away and train again, "
                f"which starts anew ({error})"
            ) from None
        end = beside.training_end()  # the best checkpoint is an earlier one
        facts = content["mmvs"] | {"steps": content["global_step"]} | (end.model_dump() if end else {})
        return cls(
            experiment,
            network.to(device()),
            words,
            steps=facts["steps"],
            seconds=facts.get("seconds", 0.0),
            skipped=facts.get("skipped", 0),
            processes=facts.get("processes", 1),
            start=facts.get("start"),
        )

    @classmethod
    def from_released(cls: type[Model], file: str | Path) -> Model:
        """Load the authors' released checkpoint, with BERT's own vocabulary and the authors' mask threshold.

        FileNotFoundError, or ValueError naming the file and the keys that do not fit; OSError (of the hub)
        where BERT's vocabulary is neither in its cache nor can be downloaded.
        """
        model, network = build_released(_locate(file))
        experiment = config.experiment(run=Path(file).stem, model=model, evaluation={"relative": True})
        words = tokenizer(experiment.model.language, experiment.folder / "vocabulary", [])
        return cls(experiment, network.to(device()), words)

    @classmethod
    def from_pretrained(cls: type[Model], where: str | Path, **options: Any) -> Model:
        """Load what `save_pretrained` or `push_to_hub` wrote, by folder or hub id; options as of the mixin.

        CheckpointError on a folder that holds something else; OSError (of the hub) where there is nothing.
        """
        try:
            for name in (CONFIG, WEIGHTS, checkpoints.SUMS):
                regular(Path(where) / name)
            return super().from_pretrained(str(where), **options)
        except CheckpointError:
            raise
        except Exception as error:  # config.json, which the mixin looks at first, is torn or foreign
            if isinstance(error, OSError) and not Path(where).is_dir():  # of the hub
                raise
            why = reason(error)
            raise CheckpointError(f"{where} holds no model that save_pretrained wrote ({why})") from None

    def save_backbone(self, file: str | Path, name: Literal["appearance", "motion"]) -> None:
        """Write the weights of one backbone, as `weights` of another run's backbone reads them.

        ConfigError where it is no narrow one: those of libraries start from the libraries' weights.
        """
        encoder, kind = getattr(self.network, name), getattr(self.experiment.model, f"{name}_backbone").name
        if kind != "narrow" or not hasattr(encoder, "body"):
            raise ConfigError(
                f"{self.experiment.run}: only a narrow backbone can be saved alone, and its {name} is "
                + (f"'{kind}'" if hasattr(encoder, "body") else "left out")
            )
        tensors = {
            key: tensor.detach().cpu().contiguous() for key, tensor in encoder.body.state_dict().items()
        }
        with whole(file) as partial:
            partial.write_bytes(save(tensors))

    def fingerprint(self) -> str:
        """12 hex digits of weights and experiment: the same digits give the same masks."""
        digest = hashlib.blake2b(self.experiment.fingerprint().encode(), digest_size=6)
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def generate_model_card(self, *args: Any, **fields: Any) -> ModelCard:
        """The README of a saved model."""
        data = self.experiment.data
        return super().generate_model_card(
            *args,
            run=self.experiment.run,
            data=", ".join(data.training_sets),
            frames=data.frames,
            stride=data.stride,
            size=data.size,
            flow=self.experiment.flow.estimator,
            scores=_scores(self.experiment),
            weights=f"{sum(p.numel() for p in self.parameters()):,}",
            fingerprint=self.experiment.fingerprint(),
            **fields,
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        card = save_directory / "README.md"
        if card.exists() and "library_name: mmvs\n" in card.read_text(encoding="utf-8"):
            card.unlink()  # the mixin keeps one that is there, with the scores of another training
        self.tokenizer.save_pretrained(save_directory / LANGUAGE)
        keep_architectures(self.network, save_directory / LANGUAGE)
        write_json(save_directory / CONFIG, self.experiment.model_dump(mode="json"))
        checkpoints.write_sums(save_directory, _parts(save_directory))

    @classmethod
    def _from_pretrained(
        cls: type[Model], *, model_id: str, map_location: str = "cpu", **options: Any
    ) -> Model:
        folder = Path(model_id)
        download = {name: value for name, value in options.items() if name in DOWNLOAD_OPTIONS}
        if downloaded := not folder.is_dir():
            parts = [CONFIG, WEIGHTS, f"{LANGUAGE}/*", checkpoints.SUMS]
            folder = Path(snapshot_download(model_id, allow_patterns=parts, **download))
        try:
            experiment = config.kept((folder / CONFIG).read_text(encoding="utf-8"))
            checkpoints.compare_sums(folder, _parts(folder))
            if downloaded:
                experiment = _at_home(experiment)
            words = kept_tokenizer(folder / LANGUAGE)
            network = build_empty(experiment.model, len(words), folder / LANGUAGE)
            model = cls(experiment, network, words)
            return cls._load_as_safetensor(model, str(folder / WEIGHTS), map_location, strict=True)
        except Exception as error:  # any part may be missing, torn or of another version
            raise CheckpointError(
                f"{model_id} holds no model that save_pretrained wrote, or one of another version: {error}"
            ) from None


def _scores(experiment: Experiment) -> str:
    """Of a card: mean IoU on each data set and its controls by kind of sentence, and where that is from."""
    folder = RunFolder.of(experiment)
    if (result := folder.result_of(experiment)) is None:
        return "None: it was not evaluated before it was saved.\n"
    scores = {name: kinds for name, kinds in result.scores.items() if "mean_iou" in kinds["all"]}
    columns = list(dict.fromkeys(kind for kinds in scores.values() for kind in kinds))
    lines = [f"| mean IoU | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, kinds in scores.items():
        means = (f"{kinds[kind]['mean_iou']:.2f}" if kind in kinds else "" for kind in columns)
        lines.append(f"| `{name}` | {' | '.join(means)} |")
    counts = {name: scores[name]["all"]["samples"] for name in experiment.data.evaluate_on if name in scores}
    origin = result.provenance
    lines += [
        "",
        f"Samples: {', '.join(f'{count:,} of `{name}`' for name, count in counts.items())}.",
        "Controls, of the same samples: `-shuffled`, sentences of other clips; `-backwards`, windows that",
        "run backwards. One seed: how far seeds spread is not in here.",
        "",
        f"Source: `metrics.json` of the run `{result.run}`: {result.steps:,} steps, seed {origin.seed},",
        f"commit {origin.commit or 'unknown'}, by `{origin.command}`.",
    ]
    return "\n".join(lines) + "\n"


def _parts(folder: Path) -> list[str]:
    """The files of a saved model that decide its answers, relative to its folder."""
    language = [path for path in (folder / LANGUAGE).glob("[!.]*") if path.is_file()]
    return [CONFIG, WEIGHTS, *(f"{LANGUAGE}/{path.name}" for path in language)]


def _at_home(experiment: Experiment) -> Experiment:
    """The experiment of a downloaded model, with the folders of this machine in place of its author's.

    ValueError where it needs a file of the author's.
    """
    weights = experiment.flow.weights
    if weights and resolve(weights).is_file():
        raise ValueError(f"flow.weights '{weights}' is a file of its author's: download it into a folder")
    fields = {"roots": Data().roots, "jhmdb_samples": None}
    places = {"data": experiment.data.model_copy(update=fields), "reports": Experiment().reports}
    places["flow"] = experiment.flow.model_copy(update={"root": Flow().root})
    return experiment.model_copy(update=places)


def _locate(where: str | Path) -> Path:
    """A path from the working directory if something is there, from the repository's root if not."""
    path = Path(where).expanduser()
    return path.absolute() if path.exists() else resolve(path)


def _experiment(checkpoint: Path, content: dict[str, Any]) -> Experiment:
    try:
        return config.kept(content["mmvs"]["experiment"])
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{checkpoint} is of another version of mmvs: {error}") from None
