"""Damage gives no other weights in silence, no raw error, hang or crash; and `fuzz` sees all of these."""

import os
import time

from faults import fuzz
from faults.fuzz import Outcome, Parser
from faults.parsers import PARSERS as ALL


def make(folder):
    (folder / "a.txt").write_text("some text that is long enough")


def read(folder):
    return (folder / "a.txt").read_bytes().decode()[:4]


def refuse(folder):
    if read(folder) != "some":
        raise ValueError(f"{folder / 'a.txt'}: damaged")
    return "some"


def refuse_without_name(folder):
    if read(folder) != "some":
        raise ValueError("damaged")


def escape(folder):
    return {"some": 1}[read(folder)]


def hang(folder):
    if read(folder) != "some":
        time.sleep(60)


def crash(folder):
    if read(folder) != "some":
        os.abort()


PARSERS = {  # misbehaving ones; `fuzz` asks a module for this name
    function.__name__ + " exact" * exact: Parser(
        function.__name__ + " exact" * exact, make, function, (ValueError,), exact
    )
    for function, exact in [
        (read, False), (read, True), (refuse, True), (refuse_without_name, False), (escape, False),
        (hang, False), (crash, False),
    ]
}  # fmt: skip


def test_every_kind_of_outcome_is_seen():
    cases = fuzz.fuzz(PARSERS, 7 * 14, patience=3, module="faults.test_fuzz")
    kinds = {name: {c.outcome.kind for c in cases if c.parser == name} for name in PARSERS}
    assert kinds["read"] >= {"same", "other result"} and kinds["read exact"] >= {"same", "silent other"}
    assert kinds["refuse exact"] >= {"same", "refused"}
    assert kinds["refuse_without_name"] >= {"same", "not named"} and kinds["escape"] >= {"same", "raw escape"}
    assert kinds["hang"] >= {"same", "hang"} and kinds["crash"] >= {"same", "crash"}
    assert all(case.mutation.startswith("a.txt: ") for case in cases), "also of those that ended the process"
    text = fuzz.table(cases).splitlines()
    assert len(text) == 1 + len(PARSERS) + 1 and text[-1].startswith("all") and "98" in text[-1]


def test_a_case_is_the_same_again(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    for number in range(50):
        done = [
            (fuzz.mutate_case(tmp_path / name, PARSERS["read"], number, 7)[1], content(tmp_path / name))
            for name in ("first", "second")
        ]
        assert done[0] == done[1]
        for name in ("first", "second"):
            fresh(tmp_path / name)


def content(folder):
    path = folder / "a.txt"
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def fresh(folder):
    path = folder / "a.txt"
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    make(folder)


def test_every_parser_of_damaged_files(capsys):
    """Some of the cases of `make fuzz`."""
    cases = fuzz.fuzz(ALL, 300, patience=60)
    print(fuzz.table(cases))
    faults = [case for case in cases if not case.allowed]
    assert not faults, "\n".join(f"{case}" for case in faults)
    assert {case.outcome.kind for case in cases} == set(fuzz.ALLOWED)
    assert all(case.outcome == Outcome("same") for case in cases if case.outcome.kind == "same")
