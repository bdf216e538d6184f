"""Mutated inputs through every parser: each gives the same as before, or is refused by name.

    python -m tests.faults.fuzz --cases 10000 --seed 0      # a table; exit status 1 on what is not allowed
    python -m tests.faults.fuzz --parser saved --case 123   # one case again

A case copies the inputs of one parser, mutates one file, and reads them in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it: for `tiny` and `faults`

PARSERS = "faults.parsers"  # module of them
ALLOWED = ("same", "refused", "other result")
OUTCOMES = (*ALLOWED, "not named", "raw escape", "silent other", "hang", "crash")
PATIENCE = 10.0  # seconds that a case may take
MEMORY = 12 << 30  # bytes of address space of the reading process


@dataclass(frozen=True)
class Parser:
    """One reader of files, and the inputs that it is tried with."""

    name: str
    make: Callable[[Path], None]  # writes good inputs into a folder
    read: Callable[[Path], Any]  # all that the inputs say, as JSON or bytes: equal means the same
    errors: tuple[type[Exception], ...]  # of a refusal; FileNotFoundError counts too, where it names the file
    exact: bool = False  # the format keeps a checksum: another result is a fault. Text and pictures keep none
    weight: int = 1  # share of the cases; slow parsers have fewer
    tokens: tuple[str, ...] = ()  # words of the format


class Outcome(NamedTuple):
    """What became of a case."""

    kind: str  # one of OUTCOMES
    detail: str = ""


class Case(NamedTuple):
    """One mutation of one file, and its outcome."""

    number: int
    parser: str
    mutation: str
    outcome: Outcome

    @property
    def allowed(self) -> bool:
        return self.outcome.kind in ALLOWED


# Mutations: (content, random, tokens) → content


NUMBERS = ["-1", "0", "1e999", "nan", "9" * 20, "1.5", "-0", "2147483648", "0x10", "", "1_0", "٣"]
REPLACEMENTS = ["missing", "folder", "link to itself", "pipe", "another file"]
WORDS = [
    "null", "NaN", "Infinity", "true", "[]", "{}", '""', "'", '"', ",", ":", "- ", "\n", "\r", "\0", "\ufeff",
    "../../", "/", "~", "*a", "&a ", "!!python/object/apply:os.system ", "<script>", "\u202e", "\ud7ff", "é",
    "[" * 2000, "{" * 500, '{"a":' * 1500, "9" * 5000, "x" * 300,
]  # fmt: skip


def flip_bits(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 1, 2, 8])):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def set_bytes(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    start, length = _block(content, random)
    fill = random.choice([b"\0", b"\xff", b" ", random.randbytes(1)])
    return content[:start] + fill * length + content[start + length :]


def cut(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    return content[: random.choice([0, 1, len(content) - 1, random.randrange(len(content))])]


def drop(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    start, length = _block(content, random)
    return content[:start] + content[start + length :]


def repeat(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    start, length = _block(content, random)
    return content[: start + length] + content[start:]


def swap(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    first, length = _block(content, random)
    second = random.randrange(len(content))
    changed = bytearray(content)
    changed[first : first + length], changed[second : second + length] = (
        content[second : second + length],
        content[first : first + length],
    )
    return bytes(changed[: len(content)])


def insert_noise(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[:start] + random.randbytes(random.choice([1, 4, 64, 4096])) + content[start:]


def set_length(content: bytes, random: random.Random, _: tuple[str, ...]) -> bytes:
    """Overwrite what may be a length or an offset."""
    size = random.choice([1, 2, 4, 8])
    value = random.choice([0, 1, 2, len(content), 1 << (8 * size - 1), (1 << 8 * size) - 1, 1 << (4 * size)])
    start = random.randrange(max(1, min(len(content), random.choice([64, 1024, 1 << 30]))))
    field = (value % (1 << 8 * size)).to_bytes(size, random.choice(["big", "little"]))
    return content[:start] + field + content[start + size :]


def put_word(content: bytes, random: random.Random, tokens: tuple[str, ...]) -> bytes:
    start, length = _block(content, random)
    word = random.choice([*WORDS, *tokens, *tokens]).encode("utf-8", "surrogatepass")
    return content[:start] + word + content[start + random.choice([0, 0, length]) :]


def put_number(content: bytes, random: random.Random, tokens: tuple[str, ...]) -> bytes:
    numbers = list(re.finditer(rb"\d[\d.]*", content[: 1 << 16]))
    if not numbers:
        return put_word(content, random, tokens)
    number = random.choice(numbers)
    return content[: number.start()] + random.choice(NUMBERS).encode() + content[number.end() :]


def move_lines(content: bytes, random: random.Random, tokens: tuple[str, ...]) -> bytes:
    lines = content.split(b"\n")
    if len(lines) < 2:
        return put_word(content, random, tokens)
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    kind = random.choice(["drop", "repeat", "swap"])
    if kind == "drop":
        del lines[first]
    elif kind == "repeat":
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


BYTES = [flip_bits, flip_bits, set_bytes, cut, drop, repeat, swap, insert_noise, set_length, set_length]
TEXT = [put_word, put_word, put_number, put_number, move_lines]


def _block(content: bytes, random: random.Random) -> tuple[int, int]:
    start = random.randrange(len(content) or 1)
    return start, min(len(content) - start, random.choice([1, 2, 4, 16, 256, 4096]))


def mutate(folder: Path, random: random.Random, tokens: tuple[str, ...]) -> tuple[Path, str]:
    """Mutate one file below a folder; returns it, and what was done in words."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = random.choice(files)
    name = path.relative_to(folder).as_posix()
    if random.random() < 0.03:
        return path, f"{name}: {_replace(path, random, files)}"
    content, done = path.read_bytes(), []
    is_text = b"\0" not in content[:4096]
    for _ in range(random.choice([1, 1, 1, 1, 2, 4])):
        change = random.choice([*BYTES, *TEXT, *TEXT] if is_text else [*BYTES, *BYTES, *TEXT])
        if content:
            content, _ = change(content, random, tokens), done.append(change.__name__)
    stamp = path.stat()
    path.write_bytes(content)
    if random.random() < 0.5:  # a disk that decays leaves no date
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return path, f"{name}: {', '.join(done)}"


def mutate_case(folder: Path, parser: Parser, number: int, seed: int) -> tuple[Path, str]:
    """The mutation of a case: always the same for a parser, number and seed."""
    return mutate(folder, random.Random(f"{seed} {parser.name} {number}"), parser.tokens)


def _replace(path: Path, random: random.Random, files: list[Path]) -> str:
    """Put something else in the place of a file."""
    kind, content = random.choice(REPLACEMENTS), random.choice(files).read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "another file":
        path.write_bytes(content)
    return kind


# One case


def attempt(parser: Parser, folder: Path, expected: Any, path: Path) -> Outcome:
    """Read the mutated inputs; `path` is the file that was mutated."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = parser.read(folder)
    except (*parser.errors, FileNotFoundError) as error:
        text = str(error)
        names = {str(folder), path.name, path.parent.name} - {folder.name}
        refusal = isinstance(error, parser.errors) or error.filename or path.name in text
        if refusal and (any(name in text for name in names) or re.search(r"sentence \d", text)):
            return Outcome("refused", text[:300])
        return Outcome("not named", f"{type(error).__name__}: {text[:300]}")
    except BaseException as error:  # what Rust calls a panic is no Exception
        return Outcome("raw escape", f"{type(error).__name__}: {str(error)[:300]} ({_place(error)})")
    if result == expected:
        return Outcome("same")
    return Outcome("silent other" if parser.exact else "other result")


def _place(error: BaseException) -> str:
    """Where in mmvs an error came through, last."""
    place, trace = "", error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        if f"{os.sep}mmvs{os.sep}" in code.co_filename:
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
    return place


class Bench:
    """Good inputs of some parsers, and what they say."""

    def __init__(self, parsers: list[Parser], root: Path):
        self.parsers = {parser.name: parser for parser in parsers}
        self.root, self.expected = root, {}
        for parser in parsers:
            self.good(parser.name).mkdir(parents=True)
            parser.make(self.good(parser.name))
            work = self.copy(parser.name)
            self.expected[parser.name] = parser.read(work)
            again = self.copy(parser.name)
            assert parser.read(again) == self.expected[parser.name], f"{parser.name} is not repeatable"

    def good(self, name: str) -> Path:
        return self.root / "good" / name

    def copy(self, name: str) -> Path:
        """Fresh inputs, always at the same place: what a parser says may hold its path."""
        work = self.root / "work" / name
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.good(name), work)
        return work

    def run(self, number: int, name: str, seed: int) -> tuple[str, Outcome]:
        """One case, in this process."""
        parser, work = self.parsers[name], self.copy(name)
        path, mutation = mutate_case(work, parser, number, seed)
        return mutation, attempt(parser, work, self.expected[name], path)


def _serve(module: str, names: list[str], root: Path, seed: int, connection: Any) -> None:
    """Prepare good inputs, then fork a process that reads mutated ones, and another when that one ends."""
    import resource

    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        parsers = import_module(module).PARSERS
        bench = Bench([parsers[name] for name in names], root)
    except Exception:
        connection.send(("failed", traceback.format_exc()))
        raise
    with open(os.devnull, "w") as nowhere:  # libraries complain about every mutation
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    while True:
        if not (child := os.fork()):
            connection.send(("ready", os.getpid()))
            while True:
                connection.send(("done", bench.run(*connection.recv(), seed)))
        connection.send(("ended", os.waitpid(child, 0)[1]))


class Reader:
    """The reading process as seen from here, which ends it when a case takes too long."""

    def __init__(self, parsers: dict[str, Parser], seed: int, patience: float, module: str = PARSERS):
        self.parsers, self.seed, self.patience = parsers, seed, patience
        # Spawned, as a forked child of a process with threads can hang.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        arguments = (module, list(parsers), self.folder, seed, theirs)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.child = 0
        self.child = self._answer("ready")

    def __call__(self, number: int, name: str) -> tuple[str, Outcome]:
        """What a case does to its inputs, and its outcome."""
        self.connection.send((number, name))
        hangs = not self.connection.poll(self.patience)
        if hangs:
            os.kill(self.child, signal.SIGKILL)
        kind, answer = self.connection.recv()
        if kind == "done":
            return answer
        self.child = self._answer("ready")
        copy = self.folder / "again"  # who was ended did not tell its mutation
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / "good" / name, copy)
        mutation = mutate_case(copy, self.parsers[name], number, self.seed)[1]
        if hangs:
            return mutation, Outcome("hang", f"more than {self.patience:.0f} s")
        return mutation, Outcome("crash", f"status {answer}")

    def close(self) -> None:
        """End the processes, and remove what they wrote."""
        self.process.kill()
        self.process.join()
        if self.child:
            with suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answer(self, expected: str) -> Any:
        kind, answer = self.connection.recv()
        if kind != expected:
            self.close()
            raise RuntimeError(f"the reading process did not begin: {answer}")
        return answer


def plan(parsers: dict[str, Parser], cases: int) -> Iterator[tuple[int, str]]:
    """Numbers of cases with their parsers, in turn and by weight."""
    turns = [name for name, parser in parsers.items() for _ in range(parser.weight)]
    for number in range(cases):
        yield number, turns[number % len(turns)]


def fuzz(
    parsers: dict[str, Parser],
    cases: int,
    seed: int = 0,
    patience: float = PATIENCE,
    progress: bool = False,
    module: str = PARSERS,
) -> list[Case]:
    """Run that many cases of these parsers, which a module has in its `PARSERS`."""
    reader, done = Reader(parsers, seed, patience, module), []
    try:
        for number, name in tqdm(list(plan(parsers, cases)), unit="case", disable=None if progress else True):
            done.append(Case(number, name, *reader(number, name)))
    finally:
        reader.close()
    return done


def table(cases: list[Case]) -> str:
    """How many cases of each parser had which outcome."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        counts[case.parser][case.outcome.kind] += 1
        counts["all"][case.outcome.kind] += 1
    counts["all"] = counts.pop("all", Counter())
    rows = [["parser", "cases", *OUTCOMES]]
    for name, of in counts.items():
        rows.append([name, str(sum(of.values())), *(str(of[kind] or "") for kind in OUTCOMES)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def main() -> int:
    all_parsers = import_module(PARSERS).PARSERS
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--parser", choices=list(all_parsers), action="append", help="by default all")
    options.add_argument("--case", type=int, help="this one alone, of --parser")
    options.add_argument("--patience", type=float, default=PATIENCE, help="seconds that a case may take")
    chosen = options.parse_args()
    parsers = {name: all_parsers[name] for name in chosen.parser or all_parsers}
    if chosen.case is not None:
        reader = Reader(parsers, chosen.seed, chosen.patience)
        cases = [Case(chosen.case, name, *reader(chosen.case, name)) for name in parsers]
        reader.close()
    else:
        cases = fuzz(parsers, chosen.cases, chosen.seed, chosen.patience, progress=True)
    print(table(cases))
    faults = [case for case in cases if not case.allowed]
    for case in faults or (cases if chosen.case is not None else []):
        print(f"--parser '{case.parser}' --case {case.number}: {case.mutation}")
        print(f"    {case.outcome.kind}: {case.outcome.detail}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
