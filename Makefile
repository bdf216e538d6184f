# `make report` and `make test` need Python 3.10 to 3.12 and nothing else; a second call reuses what is there.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin/python -m
NEEDED_GB := 12
# How many jobs of the pipeline run at once, each on one thread. Example: make ladder CORES=1
CORES ?= all
# Where they run: a folder below profiles/. Example: make ladder PROFILE=slurm
PROFILE ?= local

# The kernels must be those of .venv, whatever the user's own Jupyter and IPython folders hold.
export JUPYTER_PREFER_ENV_PATH := 1
export IPYTHONDIR := $(CURDIR)/build/ipython
# Text bars are what belongs into a rendered notebook: no advice to install widgets.
export PYTHONWARNINGS := ignore:IProgress not found
report ladder motion test test-fast: export JUPYTER_NO_CONFIG := 1

# A killed run leaves nothing locked: the lock is the kernel's, and ends with its holders.
define PIPELINE
@mkdir -p build; exec 9> build/lock; PATH="$(CURDIR)/.venv/bin:$$PATH"; export PATH; \
if command -v flock > /dev/null && ! flock -n 9; then \
  echo "Another 'make report', 'make ladder' or 'make motion' is at work in this folder: wait for it, or end it."; exit 1; \
fi; \
run() { $(BIN) snakemake --profile profiles/$(PROFILE) $(if $(filter local,$(PROFILE)),--cores $(CORES)) "$$@"; };
endef

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed ## the environment in .venv, with the versions of requirements.lock

report: .venv/.installed ## run the experiment and render its reports: open reports/index.html
	$(PIPELINE) run report && $(BIN) mmvs report

ladder: .venv/.installed ## the ablation ladder, 3 seeds a rung (hours; resumes where it was killed), then the reports
	$(PIPELINE) run ladder && run report && $(BIN) mmvs report

motion: .venv/.installed ## what explicit motion is worth: 4 systems, 5 budgets, 3 seeds (many hours; resumes), then the reports
	$(PIPELINE) run motion && run report && $(BIN) mmvs report

test: .venv/.installed ## lint, unit tests and the notebooks at smoke scale
	@$(BIN) ruff check .
	@$(BIN) ruff format --check .
	OMP_NUM_THREADS=1 $(BIN) pytest -r s --nbval-lax --nbval-current-env --nbval-cell-timeout=300 tests notebooks

# What is quick and tells most: definitions, files, one network, one page, one video.
FAST := tests/metrics tests/data/test_geometry.py tests/data/test_words.py tests/data/test_csv_files.py \
  tests/model/test_colour_wheel.py tests/model/test_fusion.py tests/model/test_network.py \
  tests/report/test_intervals.py tests/report/test_sweeps.py tests/segmenter/test_overlay.py \
  tests/test_config.py tests/test_files.py tests/test_layers.py tests/test_losses.py \
  tests/test_run_folder.py tests/test_schema.py tests/test_pinned.py

test-fast: .venv/.installed ## a part of the tests, in less than a minute
	@$(BIN) ruff check .
	OMP_NUM_THREADS=1 $(BIN) pytest -q -r s $(FAST)

faults: .venv/.installed ## kill 50 runs at random moments, and compare what they end with (about 15 minutes)
	OMP_NUM_THREADS=1 .venv/bin/python tests/faults/kills.py --kills 50

fuzz: .venv/.installed ## 10,000 damaged inputs through every parser: the same result, or a refusal by name
	OMP_NUM_THREADS=1 $(BIN) tests.faults.fuzz --cases 10000

rehearsal: .venv/.installed ## clips like A2D's through verify, flow and loading; what all of A2D would take (CLIPS=8)
	OMP_NUM_THREADS=1 $(BIN) benchmarks.rehearsal --clips $(or $(CLIPS),8)

lab: .venv/.installed build/lab ## JupyterLab on the notebooks
	PYTHONPATH="$(CURDIR)/build/lab" JUPYTER_PATH="$(CURDIR)/build/lab/share/jupyter" $(BIN) jupyterlab

# Beside the environment, not in it: where tqdm finds widgets, notebooks under papermill draw no bar as text.
build/lab: .venv/.installed
	$(BIN) pip install --disable-pip-version-check --quiet --no-deps --upgrade --target $@ \
	  "ipywidgets>=8.1,<9" widgetsnbextension jupyterlab-widgets
	@touch $@

lint: .venv/.installed ## mend style and layout where that can be done by machine
	$(BIN) ruff check --fix .
	$(BIN) ruff format .

docs: build/docs/.installed ## the site of docs/, into build/site; broken links stop it
	NO_MKDOCS_2_WARNING=1 build/docs/bin/python -m mkdocs build --strict
	@echo "open build/site/index.html"

# Of its own: the API pages are made from the sources, so that nothing of .venv is needed.
build/docs/.installed: pyproject.toml
	@$(find_python); "$$python" -m venv build/docs
	build/docs/bin/python -m pip install --disable-pip-version-check --quiet --upgrade "pip>=25.1"
	build/docs/bin/python -m pip install --quiet --group docs
	@touch $@

lock: ## pin the newest versions that pyproject.toml allows in requirements.lock
	@$(find_python); "$$python" -m venv build/uv && build/uv/bin/pip install --quiet uv
	build/uv/bin/uv pip compile pyproject.toml --extra all --group headless --universal --python-version 3.10 \
	  --upgrade --no-annotate --no-emit-index-url --no-emit-package opencv-python \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean: ## forget what was rendered, so that the next report is made anew; data and checkpoints stay
	rm -rf build .snakemake .pytest_cache .ruff_cache

distclean: clean ## also the environment, moving shapes, their flow and every checkpoint; no data set of others
	rm -rf .venv mmvs.egg-info data/moving_shapes* data/smoke* data/flow/moving_shapes*
	find reports -type d \( -name checkpoints -o -name logs -o -name predictions \) -prune -exec rm -rf {} +

# The first Python that runs (version managers leave commands that do not) and has the right version and venv.
define find_python
for python in $(PYTHON) python3.11 python3.12 python3.10 python3 none; do \
  "$$python" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
    2> /dev/null && break; \
done; \
if [ "$$python" = none ]; then \
  echo "No Python 3.10, 3.11 or 3.12 with its venv module was found (Debian, Ubuntu: apt install python3-venv)."; \
  echo "If it has another name: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; \
fi
endef

.venv/.installed: requirements.lock pyproject.toml
	@$(find_python); \
	free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	if [ ! -e .venv ] && [ "$$free" -lt $(NEEDED_GB) ]; then \
	  echo "$(CURDIR) has $$free GB free; the environment and the results need $(NEEDED_GB) GB."; exit 1; \
	fi; \
	echo "Installing into .venv with $$("$$python" --version): some minutes, once."; \
	"$$python" -m venv .venv
	$(BIN) pip install --disable-pip-version-check --quiet --progress-bar off --no-deps -r requirements.lock
	$(BIN) pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: help install docs report ladder motion test test-fast fuzz faults rehearsal lab lint lock clean distclean
