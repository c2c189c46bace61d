# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the step boundaries of a play, and kills the play at one of them. For the chaos tests only."""

from __future__ import annotations

import fnmatch
import json
import os
import signal
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: kill_at
type: notification
short_description: Kill a play at a step boundary
description:
  - Runs in the main process of ansible-playbook. A boundary is the moment before a task starts, which is after the
    one before has ended, and the moment after the last task. Each is written as a line of JSON to the file that
    E(CHAOS_BOUNDARIES) names.
  - At the boundary that E(CHAOS_KILL_AT) numbers, from 1, the process kills itself with SIGKILL; with
    E(CHAOS_KILL_ALL) every process whose environment has the same E(CHAOS_RUN) goes first.
"""


class CallbackModule(CallbackBase):
    """Enabled with ANSIBLE_CALLBACK_PLUGINS and ANSIBLE_CALLBACKS_ENABLED."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.file = os.environ.get("CHAOS_BOUNDARIES")
        self.kill_at = int(os.environ.get("CHAOS_KILL_AT") or 0)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.boundary(task.get_name(), task.action, str(task.get_path() or ""))

    def v2_playbook_on_stats(self, stats):
        self.boundary("(the end)", "", "")

    def boundary(self, name: str, action: str, path: str) -> None:
        self.count += 1
        row = {"number": self.count, "task": name, "action": action, "path": path.rpartition("onprem/autoscale/")[2]}
        row["cpu_s"] = round(sum(os.times()[:4]), 2)  # of the play so far
        if self.file:
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if self.count == self.kill_at:
            if os.environ.get("CHAOS_KILL_ALL"):
                kill_run(os.environ["CHAOS_RUN"], spare=os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)


def kill_run(run: str, spare: int = 0) -> int:
    """SIGKILL to every process whose environment says ``CHAOS_RUN=<run>``; how many there were.

    :param run: one that ends with ``*`` stands for all that begin so.
    """
    pattern, killed = f"CHAOS_RUN={run}", 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
            if int(entry.name) != spare and fnmatch.filter(words, pattern):
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
        except OSError:
            continue  # ended meanwhile, or not ours
    return killed
