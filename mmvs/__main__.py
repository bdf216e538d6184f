"""The one command: `mmvs WORD ...`, the same as `python -m mmvs WORD ...`.

Exit status: 0 all is well; 1 something of the user's cannot be used, and the text says what to do; 2 the
command line is wrong (for `verify`: there is no data set); 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mmvs import __version__, processes

UsageError = typer.BadParameter.__base__  # a wrong command line; typer gives the class no name of its own

STOPPED = 130  # exit status after Ctrl-C, as shells have it

# Each word imports what it needs when it runs: `mmvs --help` and shell completion answer at once.

app = typer.Typer(
    name="mmvs",
    help="Text-based video segmentation with appearance, motion and language.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Params = Annotated[str, typer.Argument(help="A params file, such as params/moving_shapes.yaml.")]
Rung = Annotated[str | None, typer.Option(help="A rung of the ablation ladder, such as B+M.")]
System = Annotated[
    str | None, typer.Option(help="What it is given of time: image, video, video+flow or flow.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="With --system: length of the training.")]
Share = Annotated[float | None, typer.Option(min=0, max=1, help="With --system: of the training videos.")]
Seed = Annotated[int | None, typer.Option(min=0, help="In place of the params file's seed.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


class Precision(str, Enum):
    """Of matrix products in `segment`."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class ScoredDataSet(str, Enum):
    """Whose convention `score` follows."""

    mevis = "mevis"
    ref_youtube_vos = "ref-youtube-vos"
    ref_davis17 = "ref-davis17"
    a2d = "a2d"
    jhmdb = "jhmdb"
    expressions = "expressions"


def _print_version(wish: bool) -> None:
    if wish:
        print(f"mmvs {__version__}")
        raise typer.Exit


def _use_device(name: str | None) -> str | None:
    if name is not None:
        try:
            processes.use_device(name)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return name


Device = Annotated[
    str | None,
    typer.Option(callback=_use_device, help="cpu, cuda, cuda:1, mps; by default a GPU if there is one."),
]


def _part(text: str) -> str:
    first, _, parts = text.partition("/")
    if not (first.isdecimal() and parts.isdecimal() and 1 <= int(first) <= int(parts)):
        raise typer.BadParameter(f"'{text}': expected two numbers from 1/8 to 8/8, for eight parts")
    return text


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="The version."),
    ] = False,
) -> None:
    """A video and an English sentence in, the mask of what the sentence describes out."""


@app.command()
def prepare(
    params: Params,
    part: Annotated[
        str, typer.Option(help="Such as 2/8: every eighth video, from the second on.", callback=_part)
    ] = "1/1",
    quiet: Quiet = False,
) -> None:
    """Write data and compute flow.

    Of the embedded data set, if the experiment uses it; flow of every video.

    What exists is kept. Example: mmvs prepare params/moving_shapes.yaml

    Eight machines that see the same folder share the work by --part 1/8 to --part 8/8.
    """
    from mmvs.data.catalogue import prepare

    first, parts = map(int, part.split("/"))
    for name, summary in prepare(_experiment(params), not quiet, (first, parts)).items():
        print(f"{name}: flow of {summary.computed} videos computed, of {summary.skipped} there already")
        summary.raise_failures()


@app.command()
def train(
    params: Params, rung: Rung = None, seed: Seed = None, device: Device = None, quiet: Quiet = False
) -> None:
    """Train.

    Prepare what is missing first; a second call goes on where the first stopped.

    On 4 GPUs: torchrun --standalone --nproc-per-node 4 -m mmvs train params/a2d.yaml
    """
    _train(_experiment(params, rung, seed), quiet)


@app.command()
def evaluate(
    params: Params,
    rung: Rung = None,
    system: System = None,
    steps: Steps = None,
    share: Share = None,
    seed: Seed = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Train if need be, and score.

    Score an experiment on its data sets, after the data, flow and training that are missing.

    Writes metrics.json and samples.csv; of data sets of expressions also the zip that their server takes,
    submissions/<data set>.zip. Example: mmvs evaluate params/moving_shapes.yaml --rung B+M --seed 1
    """
    from mmvs.evaluation import evaluate
    from mmvs.run_folder import RunFolder

    trained = _train(_experiment(params, rung, seed, system, steps, share), quiet)
    result = evaluate(trained, progress=not quiet and processes.rank() == 0)
    if processes.rank() == 0:
        folder = RunFolder.of(trained.experiment)
        for name, kinds in result.scores.items():
            if "J&F" in kinds["all"]:
                print(f"{name}: " + ", ".join(f"{key} {kinds['all'][key]:.3f}" for key in ("J", "F", "J&F")))
            if "mean_iou" not in kinds["all"]:
                print(f"{name}: {kinds['all']['samples']:,} masks; their truth is not published")
                continue
            means = ", ".join(f"{kind} {scores['mean_iou']:.3f}" for kind, scores in kinds.items())
            print(f"{name}, mean IoU: {means}")
        for name in trained.experiment.data.evaluate_on:
            if folder.submission(name).exists():
                print(folder.submission(name))
        print(folder.metrics)


@app.command()
def segment(
    video: Annotated[str, typer.Argument(help="What FFmpeg opens, or a folder of pictures or of videos.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    sentences: Annotated[
        list[str] | None, typer.Argument(help='One or several, such as "the red circle".')
    ] = None,
    sentence_file: Annotated[
        Path | None, typer.Option("--sentences", help="Text file, a sentence a line; # begins a comment.")
    ] = None,
    run: Annotated[
        str,
        typer.Option("--run", "--model", help="A run's folder, checkpoint, saved model, or hub id."),
    ] = "models/moving_shapes",
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="overlay, png, palette, coco, ytvos, npz: one or several; see below."),
    ] = None,
    start: Annotated[str, typer.Option(help="Where to begin: seconds, or minutes:seconds.")] = "0",
    end: Annotated[str | None, typer.Option(help="Where to end; by default where the video does.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames to read of each second; by default all.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability of a mask's pixels; by default the model's own.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Frames at once; fewer take less memory.")] = 4,
    precision: Annotated[Precision, typer.Option(help="Of matrix products.")] = Precision.float32,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Segment a video.

    Write the masks of what sentences describe in it, their mean probability (score.csv), and an overlay.

    \b
    Formats (several: --format png,coco; by default overlay,png):
      overlay  overlay.mp4, a colour a sentence
      png      masks/<number of the sentence>/<frame>.png, black and white
      palette  palette/<frame>.png, all sentences in DAVIS's colours; the surer one where they overlap
      coco     masks.json, run lengths in COCO's form for a data set
      ytvos    Annotations/<video>/<0, 1, ...>/<frame>.png, as Ref-YouTube-VOS's server takes them
      npz      masks.npz for numpy.load: masks, score, time, frame, sentences

    A second call goes on where the first stopped; one with another --format adds it. Nothing is overwritten.
    A frame keeps its number in the whole video, whatever --start and --fps are. Of a folder of videos each is
    segmented into a folder of its own below --out; one that cannot be read is named, and the others go on.

    Example: mmvs segment clip.mp4 "the red circle" "the square that turns left" --out results
    """
    from mmvs.segmenter import Segmenter
    from mmvs.segmenter.folder import USUAL, segment_to_folder, segment_videos
    from mmvs.segmenter.formats import chosen
    from mmvs.segmenter.sentences import read_sentences
    from mmvs.video.excerpt import Excerpt, seconds
    from mmvs.video.folders import films

    excerpt = Excerpt(seconds(start), None if end is None else seconds(end), fps)
    sentences = [*(sentences or []), *(read_sentences(sentence_file) if sentence_file else [])]
    if not sentences:
        raise typer.BadParameter("no sentence: say which object to segment, or name a file by --sentences")
    names = chosen(formats or USUAL)
    options = {"batch": batch, "precision": precision.value, "threshold": threshold}
    segmenter = Segmenter.from_run(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the lines below print the damage
        several, failed = films(video), {}
        try:
            if several:
                damaged, failed = segment_videos(
                    segmenter, several, sentences, out, names, not quiet, excerpt, **options
                )
            else:
                damage = segment_to_folder(
                    segmenter, video, sentences, out, names, not quiet, excerpt, **options
                )
                damaged = {video: damage} if damage else {}
        except KeyboardInterrupt as stop:
            print(f"\n{stop}", end="", file=sys.stderr)
            raise
    for name, damage in damaged.items():
        print(f"{name}: {damage}")
    for why in failed.values():
        print(f"no results of {why}", file=sys.stderr)
    print(out)
    raise typer.Exit(1 if failed else 0)


@app.command()
def play(
    video: Annotated[
        str | None, typer.Argument(help="What FFmpeg opens; by default a clip of moving shapes.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "--run", help="A run's folder, checkpoint, saved model, or hub id.")
    ] = "models/moving_shapes",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="By default the first free one from 7860 on.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    device: Device = None,
) -> None:
    """Ask a video on a web page.

    Drop a video, type sentences, and watch the masks arrive; flow and coarse mask beside them. The page is
    for this machine alone. Ctrl-C ends it. Needs the extra: pip install "mmvs[play]"

    Example: mmvs play clip.mp4
    """
    from mmvs.play import play

    play(video, model, port, not no_browser)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A run's folder or checkpoint.")],
    folder: Annotated[Path, typer.Argument(help="Where the saved model goes; of --backbone, a file.")],
    half: Annotated[bool, typer.Option("--half", help="Weights in float16: half the size.")] = False,
    backbone: Annotated[
        Literal["appearance", "motion"] | None,
        typer.Option(help="The weights of this backbone alone, as `weights` of another run's backbone."),
    ] = None,
) -> None:
    """Save a run's model for others.

    A folder in the hub's layout: weights, parameters, tokenizer, checksums, a card with the scores. `segment
    --model` takes it, and so does the hub. Example: mmvs export reports/moving_shapes models/mine

    Or one file of weights, for the backbones of other runs: mmvs export reports/moving_shapes_pictures
    models/narrow_pictures.safetensors --backbone appearance
    """
    from mmvs.trained import TrainedNetwork

    trained = TrainedNetwork.from_run(run)
    if half:
        trained.network.half()
    if backbone:
        trained.save_backbone(folder, backbone)
    else:
        trained.save_pretrained(folder)
    print(folder)


@app.command("new-data")
def new_data(
    folder: Annotated[Path, typer.Argument(help="Where the data set is, or shall be.")],
    more: Annotated[list[Path] | None, typer.Argument(help="More videos, as of --videos clips/*.mp4")] = None,
    videos: Annotated[
        list[Path] | None, typer.Option(help="A video, a folder of pictures, or a folder of them.")
    ] = None,
    sentences: Annotated[
        Path | None, typer.Option(help="CSV with the columns video, object, sentence; maybe split.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="CVAT's XML, COCO's or another JSON, a zip, or a folder of PNG.")
    ] = None,
    valid: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the videos that are not trained on.")
    ] = 0.2,
    quiet: Quiet = False,
) -> None:
    """Make a data set of your own.

    From videos, sentences and masks, in Ref-YouTube-VOS's layout; or add to it. What is there is kept.

    Exit status: 0 all is there, 1 something must be mended, and the text says what.

    Example: mmvs new-data data/own --videos clips --sentences sentences.csv --masks annotations.xml
    """
    from mmvs.data.own.making import make

    report = make(folder, [*(videos or []), *(more or [])], sentences, masks, valid, not quiet)
    print(report.text())
    raise typer.Exit(0 if report.is_sound else 1)


@app.command()
def verify(
    root: Annotated[Path, typer.Argument(help="Folder of a data set, own data or moving shapes.")],
    fast: Annotated[bool, typer.Option("--fast", help="Open the files of some videos only.")] = False,
    quiet: Quiet = False,
) -> None:
    """Check a data set.

    Is a copy whole? What is missing, corrupt, of the wrong size or extra, and what to do.

    Exit status: 0 nothing to do, 1 something is missing or wrong, 2 there is no data set.
    """
    from mmvs.data.csv_files import DataError
    from mmvs.verify.tree import verify

    try:
        verification = verify(root, fast, not quiet)
    except DataError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    print(verification.text())
    opened = "the files of a sample of the videos were opened" if fast else "every file was opened"
    verdict = "healthy" if verification.healthy else "not complete: see the first lines"
    print(f"{verification.data_set}: {verdict}; {opened}")
    raise typer.Exit(0 if verification.healthy else 1)


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="Folder or zip of the masks, by any method.")],
    truth: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    data_set: Annotated[ScoredDataSet, typer.Option(help="Whose layout and convention; see below.")],
    split: Annotated[str, typer.Option(help="Of the masks, such as valid_u; jhmdb has none.")] = "",
    json: Annotated[Path | None, typer.Option(help="Write all numbers and faults.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write a CSV row for each expression.")] = None,
    as_official: Annotated[
        bool, typer.Option("--as-official", help="Average as the official code does, faults included.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default as many as pay, one a core at most.")
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="jhmdb: the list of frames that count.")] = None,
    quiet: Quiet = False,
) -> None:
    """Score any method's masks.

    J, F and J&F of expressions, by the convention of their data set; missing and wrong masks by name.

    \b
    PREDICTIONS holds, in a folder or its zip:
      mevis, expressions   <video>/<expression>/<frame>.png, any value but 0 is the object
      ref-youtube-vos      the same, below Annotations/ or not
      ref-davis17          the same, or maps of object numbers, anno_<0..3>/<video>/<frame>.png
      a2d                  <video>/<instance>/<frame>.png, frames from 00001 as in the data set
      jhmdb                <video>/<frame>.png
      a2d, jhmdb           scores.csv as well if you like: file,score ranks the masks for mAP

    Exit status: 0 all masks are there and right, or --as-official knows the official number; 1 not.

    Example: mmvs score masks.zip data/mevis --data-set mevis --split valid_u --json scores.json
    """
    from mmvs.scoring import Request
    from mmvs.scoring import score as score_masks

    request = Request(
        predictions, truth, data_set.value, split, as_official, workers, samples, progress=not quiet
    )
    report = score_masks(request)
    print(report.text())
    if json is not None:
        report.write_json(json)
    if table is not None:
        report.write_table(table)
    raise typer.Exit(0 if report.is_sound else 1)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more: reports/<run>, or the run's name.")],
    measure: Annotated[
        list[str] | None, typer.Option(help="Of metrics.json, such as precision@0.5; may stand twice.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all numbers, and what differs.")] = None,
    different_data: Annotated[
        bool, typer.Option("--different-data", help="Print scores on different data, with a warning.")
    ] = False,
) -> None:
    """Compare runs.

    Scores with 95 % intervals, differences from the first run, and what differs: parameters, code, data,
    flow, environment.

    A folder that holds a run a seed counts as one: reports/<run>/ladder/<rung>, reports/<run>/sweep/<cell>,
    reports/<run>/explicit_motion/<system>/<steps>, of which video+flow is the ladder's top.
    Exit status 1 where runs are scored on different data.

    Example: mmvs compare moving_shapes moving_shapes_no_flow
    """
    from mmvs.report.comparison import Comparison

    comparison = Comparison.of(runs, measure, different_data)
    print(comparison.text())
    if json is not None:
        comparison.write_json(json)


@app.command()
def sweep(
    params: Params,
    seeds: Annotated[int, typer.Option(min=1, help="How many, from the params file's on.")] = 1,
    grid: Annotated[
        list[str] | None, typer.Option(help="key=value,value; several give all combinations.")
    ] = None,
    cores: Annotated[int, typer.Option(min=1, help="Cells at once, each on one thread.")] = 1,
    profile: Annotated[str | None, typer.Option(help="Where cells run: slurm, or a folder of yours.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells, and write nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a grid of parameters.

    With several seeds. Each cell is an experiment: a params file below params/<run>/sweep, a folder below
    reports/<run>/sweep. Prints mean and 95 % interval over seeds, and writes reports/<run>/sweep.json
    and sweep.html.

    A second call goes on where the first stopped. Exit status 1 where a cell failed; the others go on.

    Example: mmvs sweep params/moving_shapes.yaml --seeds 3 --grid training.rate=1e-4,3e-4 --cores 4
    """
    from mmvs.sweep import Outcome, plan, run

    cells = plan(params, grid or [], seeds)
    if dry_run:
        for cell in cells:
            print(f"{'to run' if cell.result() is None else 'scored'}: {cell.title()}, {cell.params}")
        return
    outcome = Outcome(cells, run(cells, cores, not quiet, profile))
    print(outcome.text())
    print(outcome.write_json())
    if page := outcome.write_page():
        print(page)
    raise typer.Exit(1 if outcome.failed else 0)


@app.command()
def draw(
    root: Annotated[Path, typer.Argument(help="Folder of J-HMDB-Sentences.")],
    samples: Annotated[Path, typer.Argument(metavar="LIST", help="The CSV file to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Draw J-HMDB's frames.

    Those of J-HMDB-Sentences to score: three of every video. The list lies outside its folder.

    Name the list in data: {jhmdb_samples: ...}. Example: mmvs draw data/jhmdb-sentences frames.csv
    """
    from mmvs.data import jhmdb_samples

    path = jhmdb_samples.draw(root, samples, seed)
    print(jhmdb_samples.name_of(path, len(jhmdb_samples.read_list(path))))


report = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(report, name="report")


@report.callback()
def index(
    context: typer.Context,
    reports: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("reports"),
) -> None:
    """List all runs.

    Write index.html and README.md of the reports, and print the scores; or render a notebook.

    Example: mmvs report
    """
    if context.invoked_subcommand is None:
        from mmvs.config import resolve
        from mmvs.report.pages import write_index
        from mmvs.report.runs import as_text, runs

        page, _ = write_index(resolve(reports))
        print(*as_text(runs(resolve(reports))), f"open {reports / page.name}", sep="\n")


@report.command()
def render(notebooks: Annotated[list[Path], typer.Argument(help="Executed notebooks.")]) -> None:
    """Write an executed notebook as a page that opens offline, beside it."""
    from mmvs.report.pages import render

    for notebook in notebooks:
        print(render(notebook))


def _experiment(
    params: str,
    rung: str | None = None,
    seed: int | None = None,
    system: str | None = None,
    steps: int | None = None,
    share: float | None = None,
) -> Any:
    """The experiment of a params file, with what is given in place of the file's own."""
    from mmvs import config

    parameters = config.read(params)
    experiment = parameters.experiment
    seed = experiment.seed if seed is None else seed
    if system is None and (steps, share) != (None, None):
        raise config.ConfigError("--steps and --share go with --system; else set training.steps in the file")
    if system is not None:
        if rung is not None:
            raise config.ConfigError("give --rung or --system, not both")
        own = experiment.training
        share = own.share if share is None else share
        return parameters.ladder.as_system(experiment, system, steps or own.steps, share, seed)
    return experiment.on_rung(rung, seed) if rung else experiment.model_copy(update={"seed": seed})


def _train(experiment: Any, quiet: bool) -> Any:
    from mmvs.data.catalogue import prepare
    from mmvs.training import fit

    progress = not quiet and processes.rank() == 0
    for summary in prepare(experiment, progress=progress).values():
        summary.raise_failures()
    return fit(experiment, progress=progress)


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and exit; an error that the user can mend is one line on standard error."""
    try:
        processes.join_slurm_step()
        status = app(args=arguments, prog_name="mmvs", standalone_mode=False)
    except UsageError as error:
        error.show()
        status = error.exit_code
    except SystemExit as end:  # typer's own way to end at Ctrl-C
        status = end.code
    # ValueError: of a configuration, data, flow, video, checkpoint, report. OSError: of files and the disk.
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        status = 1
    except RuntimeError as error:
        if not hasattr(error, "signal"):  # of TrainingStopped, which is not imported for this alone
            raise
        if processes.rank() == 0:
            print(f"\n{error}: {_typed(arguments)}", file=sys.stderr)
        raise SystemExit(128 + error.signal) from None
    if status == STOPPED:
        print(f"\nstopped: the same command goes on where it was: {_typed(arguments)}", file=sys.stderr)
    raise SystemExit(status or 0)


def _typed(arguments: list[str] | None) -> str:
    """The command line, to be called again."""
    program = "python -m mmvs" if sys.argv[0].endswith(".py") else "mmvs"
    if processes.count() > 1:
        program = f"torchrun ... -m {program.split()[-1]}"
    return f"{program} {shlex.join(sys.argv[1:] if arguments is None else arguments)}"


if __name__ == "__main__":
    main()
