"""The experiment as a graph of notebooks, for `make report` and `make ladder`.

A rule is up to date when its outputs are newer than its notebook and its params file. One output is a stamp
under build/, which git does not keep: the rendered reports are committed, and a fresh clone has to make them
all the same. Training keeps its checkpoints when it is killed, and the next call goes on from there.
"""

from pathlib import Path

from mmvs.config import LADDER, METHOD, read

MAIN = "moving_shapes"
WITHOUT_FLOW = "moving_shapes_no_flow"
FULL = list(LADDER)[-1]
PARAMETERS = read(f"params/{MAIN}.yaml")
OWN, PLAN = PARAMETERS.experiment, PARAMETERS.ladder
CELLS = [f"{rung}/{seed}" for rung in PLAN.rungs for seed in PLAN.seeds if rung != FULL]
# The top of the ladder is the method with all its inputs: MAIN itself, and cells of `make motion`.
TOP = [
    f"{METHOD}/{OWN.training.steps}-{OWN.training.share:g}/{seed}"
    for seed in PLAN.seeds
    if FULL in PLAN.rungs and seed != OWN.seed
]
# system/steps-share/seed of `make motion`, but for two that are runs of their own.
SYSTEM_CELLS = [
    f"{system}/{steps}-{share:g}/{seed}"
    for seed in PLAN.seeds
    for steps, share in PLAN.budgets
    for system in PLAN.systems
    if system not in ("video", "video+flow")
    or (steps, share, seed) != (OWN.training.steps, OWN.training.share, OWN.seed)
]
PAGES = [
    f"{MAIN}/00_quickstart",
    f"{MAIN}/01_explore_data",
    f"{MAIN}/02_compute_flow",
    f"{MAIN}/03_train",
    f"{MAIN}/04_ablations",
    f"{MAIN}/05_qualitative",
    f"{MAIN}/06_your_video",
    f"{MAIN}/08_explicit_motion",
    f"{WITHOUT_FLOW}/03_train",
]
EMBEDDED = f"models/{MAIN}"
INDEX = ["reports/index.html", "reports/README.md"]
EVERYTHING = [
    *[f"build/{page}.done" for page in PAGES],
    *[f"reports/{page}.html" for page in PAGES],
    *[f"reports/{run}/metrics.json" for run in (MAIN, WITHOUT_FLOW)],
    f"{EMBEDDED}/SHA256SUMS",
]


wildcard_constraints:
    run=r"[\w.-]+",
    rung=r"B[+\w]*",
    seed=r"\d+",
    system=r"[\w+]+",
    steps=r"\d+",
    share=r"[\d.]+",


# Of a progress bar one line every 20 s: two trainings at once stay readable, and so does a log file.
PROGRESS = r"""
progress() {{
    next=$SECONDS
    while IFS= read -r -d $'\r' text; do
        text="${{text##*$'\n'}}"
        if [ -n "$text" ] && [ "$SECONDS" -ge "$next" ]; then
            echo "$1 | $text"
            next=$((SECONDS + 20))
        fi
    done
}}
export OMP_NUM_THREADS={threads}
"""

RENDER = (
    PROGRESS
    + """
name=$(basename {input.notebook} .ipynb)
report=reports/{wildcards.run}/$name
mkdir -p reports/{wildcards.run}
exec 3> >(progress "{wildcards.run} $name")
python -m papermill {input.notebook} $report.ipynb -f {input.params} --cwd . --kernel python3 \
    --log-level WARNING --no-progress-bar --stdout-file /dev/fd/3 --stderr-file /dev/fd/3 \
    2> >(grep --line-buffered -v "without encryption" >&2)  # said by every kernel, of a socket on this machine
python -m mmvs report render $report.ipynb
"""
)


rule report:
    input:
        "build/index.done",
        INDEX,
        EVERYTHING,


rule explore_data:
    input:
        notebook="notebooks/01_explore_data.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/01_explore_data.done"),
        "reports/{run}/01_explore_data.html",
    message:
        "{wildcards.run}: what is in the data"
    shell:
        RENDER


rule compute_flow:
    input:
        "build/{run}/01_explore_data.done",
        notebook="notebooks/02_compute_flow.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/02_compute_flow.done"),
        "reports/{run}/02_compute_flow.html",
    threads: 2  # processes of one thread each; the rule is alone: training waits for it
    message:
        "{wildcards.run}: optical flow of every video"
    shell:
        RENDER.replace("OMP_NUM_THREADS={threads}", "OMP_NUM_THREADS=1")


rule train:
    input:
        f"build/{MAIN}/02_compute_flow.done",  # every run is on MAIN's data
        notebook="notebooks/03_train.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/03_train.done"),
        "reports/{run}/03_train.html",
        "reports/{run}/metrics.json",
    message:
        "{wildcards.run}: training and evaluation (checkpoints: reports/{wildcards.run}/checkpoints)"
    shell:
        RENDER


rule ablations:
    input:
        "build/{run}/03_train.done",
        f"build/{WITHOUT_FLOW}/03_train.done",
        lambda wildcards: [str(cell) for cell in Path(f"build/{wildcards.run}/ladder").glob("*/*.done")],
        lambda wildcards: [
            str(cell) for cell in Path(f"build/{wildcards.run}/explicit_motion/{METHOD}").glob("*/*.done")
        ],
        notebook="notebooks/04_ablations.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/04_ablations.done"),
        "reports/{run}/04_ablations.html",
    message:
        "{wildcards.run}: what each part earns"
    shell:
        RENDER


rule explicit_motion:
    input:
        "build/{run}/03_train.done",
        f"build/{WITHOUT_FLOW}/03_train.done",
        lambda wildcards: [
            str(cell) for cell in Path(f"build/{wildcards.run}/explicit_motion").glob("*/*/*.done")
        ],
        notebook="notebooks/08_explicit_motion.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/08_explicit_motion.done"),
        "reports/{run}/08_explicit_motion.html",
    message:
        "{wildcards.run}: what explicit motion is worth"
    shell:
        RENDER


rule qualitative:
    input:
        "build/{run}/03_train.done",
        notebook="notebooks/05_qualitative.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/05_qualitative.done"),
        "reports/{run}/05_qualitative.html",
    message:
        "{wildcards.run}: best, median and worst cases"
    shell:
        RENDER


rule embedded_model:
    input:
        f"build/{MAIN}/03_train.done",
    output:
        touch(f"build/{MAIN}/embedded.done"),
        f"{EMBEDDED}/SHA256SUMS",
    message:
        f"{EMBEDDED}: the model that comes with the repository"
    shell:
        f"python -m mmvs export reports/{MAIN} {EMBEDDED} --half"


rule quickstart:
    input:
        f"build/{MAIN}/embedded.done",
        notebook="notebooks/00_quickstart.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/00_quickstart.done"),
        "reports/{run}/00_quickstart.html",
    message:
        "{wildcards.run}: a clip, a sentence, a mask"
    shell:
        RENDER


rule your_video:
    input:
        "build/{run}/03_train.done",
        notebook="notebooks/06_your_video.ipynb",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/06_your_video.done"),
        "reports/{run}/06_your_video.html",
    message:
        "{wildcards.run}: masks in any video"
    shell:
        RENDER


rule index:
    input:
        EVERYTHING,
    output:
        touch("build/index.done"),
        INDEX,
    message:
        "reports/index.html and reports/README.md"
    shell:
        "python -m mmvs report"


rule ladder:
    input:
        f"build/{MAIN}/03_train.done",
        expand(f"build/{MAIN}/ladder/{{cell}}.done", cell=CELLS),
        expand(f"reports/{MAIN}/ladder/{{cell}}/metrics.json", cell=CELLS),
        expand(f"build/{MAIN}/explicit_motion/{{cell}}.done", cell=TOP),


rule ladder_cell:
    input:
        f"build/{MAIN}/02_compute_flow.done",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/ladder/{rung}/{seed}.done"),
        "reports/{run}/ladder/{rung}/{seed}/metrics.json",
    log:
        "build/{run}/ladder/{rung}/{seed}.log",
    message:
        "{wildcards.run}: rung {wildcards.rung}, seed {wildcards.seed} (log: {log})"
    shell:
        PROGRESS
        + """
        python -m mmvs evaluate {input.params} --rung {wildcards.rung} --seed {wildcards.seed} 2>&1 | tee -a {log} | progress "{wildcards.rung} {wildcards.seed}"
        """


rule motion:
    input:
        f"build/{MAIN}/03_train.done",
        expand(f"build/{MAIN}/explicit_motion/{{cell}}.done", cell=SYSTEM_CELLS),


rule motion_cell:
    input:
        f"build/{MAIN}/02_compute_flow.done",
        params="params/{run}.yaml",
    output:
        touch("build/{run}/explicit_motion/{system}/{steps}-{share}/{seed}.done"),
    log:
        "build/{run}/explicit_motion/{system}/{steps}-{share}/{seed}.log",
    message:
        "{wildcards.run}: {wildcards.system}, {wildcards.steps} steps, share {wildcards.share}, seed {wildcards.seed} (log: {log})"
    shell:
        PROGRESS
        + """
        python -m mmvs evaluate {input.params} --system {wildcards.system} --steps {wildcards.steps} --share {wildcards.share} --seed {wildcards.seed} 2>&1 | tee -a {log} | progress "{wildcards.system} {wildcards.steps} {wildcards.share} {wildcards.seed}"
        """
