"""A file appears whole or not at all, whatever ends the writing."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from mmvs.files import regular, remove_partial, whole, write_json, write_text


def test_nothing_is_seen_before_the_end_and_the_old_file_stays_until_then(tmp_path):
    path = tmp_path / "new" / "scores.json"
    with whole(path) as partial:
        partial.write_text("one")
        assert not path.exists() and partial.suffix == ".json" and partial.parent == path.parent
    with whole(path) as partial:
        partial.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two" and os.listdir(path.parent) == ["scores.json"]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    write_text(tmp_path / "file", "kept")
    with pytest.raises(KeyError), whole(tmp_path / "file") as partial:
        partial.write_text("half")
        raise KeyError
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "kept"


def killed(path):
    with whole(path) as partial:
        partial.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_kill_leaves_the_old_file_and_a_partial_one_that_can_be_removed(tmp_path):
    write_text(tmp_path / "file.txt", "kept")
    job = multiprocessing.get_context("spawn").Process(target=killed, args=(tmp_path / "file.txt",))
    job.start()
    job.join()
    assert (tmp_path / "file.txt").read_text() == "kept" and len(os.listdir(tmp_path)) == 2
    (tmp_path / ".partial-1-other.txt").touch()
    remove_partial(tmp_path, "file.txt")
    assert sorted(os.listdir(tmp_path)) == [".partial-1-other.txt", "file.txt"]
    remove_partial(tmp_path)
    assert os.listdir(tmp_path) == ["file.txt"]


def test_text_is_utf8_with_its_own_line_ends_and_json_has_a_final_newline(tmp_path):
    write_text(tmp_path / "text", "é\r\nü\n")
    assert (tmp_path / "text").read_bytes() == "é\r\nü\n".encode()
    write_json(tmp_path / "json", {"é": [1]})
    assert (tmp_path / "json").read_text() == '{\n  "é": [\n    1\n  ]\n}\n'


def test_who_reads_a_pipe_would_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=f"not a file, but a pipe.*{name}"):
            regular(tmp_path / name)
    for path in (tmp_path, tmp_path / "file", tmp_path / "absent", Path("/dev/fd/0")):
        assert regular(path) == path
