# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who works on a run: the ansible-playbook above a module, and whether it still lives."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery import _owner
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._owner import Owner, alive, this_owner

PLAYBOOK = "/usr/bin/python3\0/usr/bin/ansible-playbook\0dr_failover.yml"


def fake_proc(folder: Path, *chain: tuple[int, str]) -> Path:
    """A /proc with these processes, each the parent of the next; the last one is the parent of this process."""
    parent = 1
    for pid, command in chain:
        (folder / str(pid)).mkdir(parents=True)
        (folder / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} {'0 ' * 17}{pid}77 0")
        (folder / str(pid) / "cmdline").write_text(command)
        parent = pid
    (folder / "sys" / "kernel" / "random").mkdir(parents=True)
    (folder / "sys" / "kernel" / "random" / "boot_id").write_text("boot-1\n")
    return folder


@pytest.mark.parametrize(
    ("chain", "pid"),
    [
        ([(10, "bash"), (20, PLAYBOOK), (30, PLAYBOOK), (40, "/bin/sh\0-c"), (50, "python3\0AnsiballZ_x.py")], 20),
        ([(20, "ansible-playbook\0x.yml"), (50, "python3\0x")], 20),
        ([(20, "python3.13\0-u\0/bin/ansible-playbook\0x.yml"), (50, "sh")], 20),
        # One playbook that starts another one: the inner one owns its run.
        ([(10, PLAYBOOK.replace("dr_failover", "outer")), (15, "sh"), (20, PLAYBOOK), (30, PLAYBOOK), (50, "sh")], 20),
        # The same command twice, with a shell between.
        ([(10, PLAYBOOK), (15, "sh"), (20, PLAYBOOK), (30, PLAYBOOK), (50, "sh")], 20),
        ([(10, "vim\0ansible-playbook"), (20, "python3\0/bin/ansible\0localhost"), (50, "sh")], 20),
    ],
)
def test_the_playbook_above_and_not_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chain: list[tuple[int, str]], pid: int
) -> None:
    monkeypatch.setattr(os, "getppid", lambda: chain[-1][0])
    found = this_owner(fake_proc(tmp_path, *chain))
    assert (found.pid, found.started, found.boot) == (pid, f"{pid}77", "boot-1")
    assert Owner.of(found.as_dict()) == found


def test_without_a_playbook_above_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 50)
    with pytest.raises(RefusedError, match="no ansible-playbook above"):
        this_owner(fake_proc(tmp_path, (10, "sshd"), (50, "sh")))


def test_a_process_lives_until_it_ends_and_its_number_alone_says_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        owner = _owner._owner(Path("/proc"), process.pid)
        assert alive(owner) is True
        assert alive(dataclasses.replace(owner, started="1")) is False
        assert alive(dataclasses.replace(owner, boot="another")) is False
        assert alive(dataclasses.replace(owner, host="another")) is None
        assert alive(dataclasses.replace(owner, numbers="pid:[2]")) is None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert alive(owner) is False  # a zombie does nothing any more
    finally:
        process.kill()
        process.wait()
    assert alive(owner) is False
