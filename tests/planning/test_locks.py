"""A folder that one process writes to is refused to another, and a new folder still appears at once."""

import subprocess
import sys

import pytest

from forethought.planning.files import locked_folder, whole_folder

OTHER = """
import sys
from forethought.planning.files import locked_folder
with locked_folder(sys.argv[1]):
    print("held")
"""


def other(folder):
    """What another process finds that wants the lock too."""
    return subprocess.run([sys.executable, "-c", OTHER, str(folder)], capture_output=True, text=True)


def test_a_held_folder_is_refused_until_it_is_released(tmp_path):
    folder = tmp_path / "model"
    with locked_folder(folder):
        refused = other(folder)
        assert refused.returncode != 0 and f"another process is writing to {folder}" in refused.stderr
        assert folder.is_dir(), "the process that was refused removes nothing"
    assert other(folder).stdout == "held\n"


def test_the_lock_ends_with_a_process_that_was_killed(tmp_path):
    wait = OTHER.replace('print("held")', 'print("held", flush=True); sys.stdin.read()')
    held = subprocess.Popen(
        [sys.executable, "-c", wait, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert held.stdout is not None and held.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError), locked_folder(tmp_path):
        pass
    held.kill()
    held.communicate()
    with locked_folder(tmp_path):
        pass


@pytest.mark.parametrize("made_before", [True, False])
def test_nothing_is_left_of_a_folder_in_which_nothing_was_written(tmp_path, made_before):
    folder = tmp_path / "model"
    if made_before:
        folder.mkdir()
    with pytest.raises(ValueError), locked_folder(folder):
        raise ValueError
    assert folder.exists() == made_before


def test_files_appear_at_once_in_a_locked_folder(tmp_path):
    folder = tmp_path / "model"
    with locked_folder(folder), whole_folder(folder, "last") as beside:
        (beside / "first").write_text("1")
        (beside / "last").write_text("2")
        assert list(folder.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == ["first", "last"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
