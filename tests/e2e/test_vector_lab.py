# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the vector lab leaves behind is counted, and taken away all the same."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from e2e.vector_lab import VectorLab


@pytest.fixture
def lab(tmp_path):
    """Without any DSM."""
    made = VectorLab(tmp_path, sites=())
    made.up()
    yield made
    made.down()


def test_a_lab_that_was_cleaned_up_leaves_nothing(lab):
    assert lab.down() == {"processes": 0, "folders": 0}
    assert not lab.folder.exists()


def test_a_process_and_a_folder_that_stay_are_counted_and_go(lab):
    process = subprocess.Popen(["sleep", "100"])
    left = Path(tempfile.mkdtemp())
    assert lab.down() == {"processes": 1, "folders": 1}
    assert process.wait(timeout=10) == -9
    assert not left.exists()


def test_processes_of_others_and_the_environment_stay_as_they_were(tmp_path):
    before = dict(os.environ)
    other = subprocess.Popen(["sleep", "100"])
    try:
        lab = VectorLab(tmp_path, sites=())
        lab.up()
        assert tempfile.gettempdir() == str(lab.folder / "tmp")
        assert lab.down() == {"processes": 0, "folders": 0}
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert dict(os.environ) == before
    assert tempfile.gettempdir() != str(lab.folder / "tmp")
