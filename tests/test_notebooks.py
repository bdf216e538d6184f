"""Notebooks are thin, and the seam to the params files is tight: papermill only warns on an unknown name.

`pytest --nbval-lax notebooks` runs them; here they are only read.
"""

from __future__ import annotations

import ast
import json
import re

import nbformat
import papermill
import pytest
import yaml
from papermill.exceptions import PapermillExecutionError
from papermill.translators import PythonTranslator

from mmvs import config
from mmvs.config import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMS = sorted((ROOT / "params").glob("*.yaml"))
CHECKED = "# NBVAL_CHECK_OUTPUT"
LONGEST = 10  # lines of a cell, and of what stands above `run:` in a params file
ABSOLUTE = re.compile(r"""(?:^|[\s"'(=])(?:/\w[\w.-]*/|~/|[A-Za-z]:\\)""")  # of a path, where one begins

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
every_params = pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)


def read(path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code(path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def parameters_cell(path) -> nbformat.NotebookNode:
    (cell,) = [cell for cell in read(path).cells if "parameters" in cell.metadata.get("tags", [])]
    assert cell.cell_type == "code"
    return cell


def parameters(path) -> dict[str, object]:
    """Names and default values; fails on anything that is no assignment of a literal to one name."""
    values = {}
    for statement in ast.parse(parameters_cell(path).source).body:
        assert isinstance(statement, ast.Assign), f"line {statement.lineno}: only assignments"
        (name,) = statement.targets
        assert isinstance(name, ast.Name), f"line {statement.lineno}: one name an assignment"
        values[name.id] = ast.literal_eval(statement.value)
    return values


def test_there_are_notebooks_and_params():
    assert [path.stem[:2] for path in NOTEBOOKS][:1] in (["00"], ["01"]), "notebooks/ is empty"
    assert PARAMS, "params/ is empty"


SMOKE = config.parameters({}).experiment


def test_without_a_word_they_run_the_smoke_test():
    assert config.load("params/smoke.yaml") == SMOKE and SMOKE.run == "smoke"


@every_notebook
def test_parameters_are_literals_and_say_nothing_by_default(path):
    assert config.parameters(parameters(path)).experiment == SMOKE


def injected(**values) -> dict:
    """globals() of a notebook whose parameters papermill injected."""
    cell = PythonTranslator.codify(values)
    return parameters(NOTEBOOKS[0]) | values | {"In": ["", "import this", cell]}


@every_params
def test_a_params_file_is_exactly_its_experiment(path):
    """Also its ladder and its question: nothing of smoke.yaml fills what a file leaves out."""
    values = yaml.safe_load(path.read_text())
    ladder, question = config.LadderPlan(**values.get("ladder", {})), config.Question(**values.get("ask", {}))
    exactly = config.Parameters(config.load(path), ladder, question)
    assert config.parameters(injected(**values)) == exactly
    assert json.dumps(values, sort_keys=True), "as papermill keeps them in the page"


def test_a_record_from_elsewhere_stands_for_itself():
    data = {"train_on": "moving_shapes-train"}
    it = config.parameters(injected(run="elsewhere", data=data)).experiment
    assert it == config.experiment(run="elsewhere", data=data) != SMOKE
    assert config.parameters(injected(run="renamed")).experiment == SMOKE.model_copy(
        update={"run": "renamed"}
    )


def test_the_ladder_and_the_question_change_in_part_too():
    main, street = (
        yaml.safe_load((ROOT / "params" / f"{run}.yaml").read_text()) for run in ("moving_shapes", "street")
    )
    plan = config.parameters(injected(**main | {"ladder": {"seeds": [1]}})).ladder
    assert plan == config.LadderPlan(**main["ladder"] | {"seeds": [1]})
    question = config.parameters(injected(**street | {"ask": {"sentences": ["the red car"]}})).ask
    assert question == config.Question(**street["ask"] | {"sentences": ["the red car"]})


def test_a_parameter_changes_just_itself():
    assert config.parameters(injected(seed=3)).experiment == SMOKE.model_copy(update={"seed": 3})
    steps = SMOKE.training.model_copy(update={"steps": 60})
    changed = config.parameters(injected(training={"steps": 60})).experiment
    assert changed == SMOKE.model_copy(update={"training": steps})
    deep = config.parameters(injected(data={"moving_shapes": {"test_clips": 9}})).experiment.data
    assert (deep.moving_shapes.test_clips, deep.moving_shapes.train_clips, deep.size) == (9, 24, 64)
    main = yaml.safe_load((ROOT / "params" / "moving_shapes.yaml").read_text())  # -f, and -y behind it
    both = config.parameters(injected(**main | {"training": {"steps": 60}})).experiment
    full = config.load("params/moving_shapes.yaml")
    assert both == full.model_copy(update={"training": full.training.model_copy(update={"steps": 60})})


def test_another_network_brings_its_own_defaults():
    it = config.parameters(injected(model={"name": "published"})).experiment
    assert it.model == config.experiment(model={"name": "published"}).model
    assert it.training == SMOKE.training


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"sed": 3}, "unknown parameter 'sed' of the notebook: did you mean 'seed'"),
        ({"training": {"stpes": 3}}, "unknown parameter 'stpes' of Training: did you mean 'steps'"),
        (
            {"ladder": {"rung": ["B"]}},
            "ladder: .*unknown parameter 'rung' of LadderPlan: did you mean 'rungs'",
        ),
        ({"ask": {"sentence": "x"}}, "unknown parameter 'sentence' of Question: did you mean 'sentences'"),
        ({"training": 3}, "training: "),
    ],
)
def test_an_unknown_name_is_an_error(values, named):
    with pytest.raises(config.ConfigError, match=named):
        config.parameters(injected(**values))


def test_papermill_refuses_what_it_only_warns_about(tmp_path):
    """The whole way: papermill, its injected cell, a kernel, and IPython's list of cells."""
    whole = read(NOTEBOOKS[3])
    until = next(i for i, cell in enumerate(whole.cells) if "config.parameters" in cell.source)
    whole.cells = whole.cells[: until + 1]
    whole.cells[-1].source = "from mmvs import config\nprint(config.parameters(globals()).experiment.seed)"
    del whole.cells[-2]  # the imports of everything else
    nbformat.write(whole, tmp_path / "short.ipynb")
    notebook = papermill.execute_notebook(
        tmp_path / "short.ipynb", tmp_path / "out.ipynb", {"seed": 3}, cwd=str(ROOT), progress_bar=False
    )
    assert notebook.cells[-1].outputs[0].text == "3\n"
    with pytest.raises(PapermillExecutionError, match="unknown parameter 'sed' of the notebook"):
        papermill.execute_notebook(
            tmp_path / "short.ipynb", tmp_path / "out.ipynb", {"sed": 3}, cwd=str(ROOT), progress_bar=False
        )


@every_notebook
def test_every_parameter_is_explained_as_papermill_shows_it(path):
    cell_parameters = PythonTranslator.inspect(parameters_cell(path))
    assert [parameter.name for parameter in cell_parameters] == list(parameters(path)), (
        "papermill finds them all"
    )
    unexplained = [parameter.name for parameter in cell_parameters if not parameter.help.strip()]
    assert not unexplained, f"{path.name}: no comment after {unexplained}"


def test_all_notebooks_have_the_same_parameters():
    """One params file serves them all."""
    assert len({tuple(parameters(path)) for path in NOTEBOOKS}) == 1


@every_notebook
def test_cells_are_short_and_define_nothing(path):
    for number, cell in enumerate(code(path)):
        lines = len(cell.source.splitlines())
        assert lines <= LONGEST, f"{path.name}, code cell {number}: {lines} lines, at most {LONGEST}"
        for node in ast.walk(ast.parse(cell.source)):
            defines = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda))
            assert not defines, f"{path.name}, code cell {number}: belongs into mmvs"


@every_notebook
def test_it_begins_with_a_title_and_imports_once(path):
    cells = read(path).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    importing = [
        cell
        for cell in code(path)
        if any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(ast.parse(cell.source)))
    ]
    assert len(importing) == 1, "one import cell"


@every_notebook
def test_only_checked_cells_have_stored_outputs_and_all_of_them(path):
    """nbval passes a checked cell without stored output silently; other outputs belong to reports/."""
    checked = [cell for cell in code(path) if CHECKED in cell.source]
    assert checked, f"{path.name}: no cell is marked {CHECKED}"
    for cell in checked:
        assert cell.source.startswith(CHECKED), "the mark is a cell's first line"
        assert cell.outputs, f"{path.name}: run the cell and keep its output: {cell.source}"
        for output in cell.outputs:
            assert output.output_type == "stream" and output.name == "stdout", "stable text, nothing else"
    for cell in code(path):
        assert CHECKED in cell.source or not cell.outputs, f"{path.name}: clear the output of {cell.source}"
        assert cell.execution_count is None or CHECKED in cell.source


@every_notebook
def test_no_path_of_this_machine(path):
    for cell in read(path).cells:
        for text in (cell.source, *(output.get("text", "") for output in cell.get("outputs", []))):
            assert not ABSOLUTE.search(text), f"{path.name}: {ABSOLUTE.search(text)[0]!r} in {text!r}"


def test_absolute_paths_are_told_from_relative_ones():
    for text in ('"/data/a2d"', "open(/home/x)", "~/runs", "a = /usr/", r'"C:\data"'):
        assert ABSOLUTE.search(text), text
    for text in ("reports/<run>", "a / b / c", "px/frame", "1/1000", "and/or", "n // 2", "data/x/y"):
        assert not ABSOLUTE.search(text), text


@every_notebook
def test_kernel_has_the_name_that_every_machine_knows(path):
    assert read(path).metadata.kernelspec.name == "python3"


@every_params
def test_params_fit_every_notebook(path):
    for notebook in NOTEBOOKS:
        declared, values = parameters(notebook), yaml.safe_load(path.read_text())
        assert set(values) <= set(declared), f"{notebook.name} would ignore {set(values) - set(declared)}"


@every_params
def test_params_make_an_experiment_named_like_the_file(path):
    assert config.load(path).run == path.stem, "reports/<run>/ and params/<run>.yaml belong together"


@every_params
def test_params_begin_with_the_command_that_runs_them(path):
    lines = path.read_text().splitlines()
    head = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    assert 2 <= len(head) <= 10, "what it shows, what to expect, how long it takes, the command"
    notebook = rf"papermill notebooks/\S+\.ipynb reports/{path.stem}/\S+\.ipynb .*-f params/{path.name}"
    command = rf"{notebook}|mmvs sweep params/{path.name} |mmvs train params/{path.name} "
    assert re.search(command, re.sub(r"\s*\\?\n#?\s*", " ", "\n".join(head))), f"{path.name}: no such command"
    assert not ABSOLUTE.search("\n".join(head))
