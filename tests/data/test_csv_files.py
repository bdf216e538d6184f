"""A video id is a plain name that a file can have."""

import pytest

from mmvs.data.csv_files import LONGEST_ID, DataError, plain

LONG = ["x" * (LONGEST_ID + 1), "x" * 300, "é" * (LONGEST_ID // 2 + 1)]


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "/absolute", "a/b", "a\\b", "a\0b", *LONG])
def test_names_that_lead_elsewhere_or_name_no_file_are_refused(name):
    with pytest.raises(DataError, match="^list.csv, line 3: '.*' is not a video id"):
        plain(name, "list.csv, line 3")


@pytest.mark.parametrize("name", ["a", "-x_9.mp4", "...", "a b", "视频", "x" * LONGEST_ID, "<b>"])
def test_other_names_stay_as_they_are(name, tmp_path):
    assert plain(name, "") == name
    (tmp_path / f".partial-1234567-01234567-{name}.mp4").touch()
