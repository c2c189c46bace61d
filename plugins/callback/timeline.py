# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
type: stdout
short_description: Shows a scaling action as it goes, one line a step
version_added: 0.1.0
author: The onprem.autoscale authors (@onprem-autoscale)
description:
  - For each task of this collection that does something, one line when it ends, with the time, what was done, to which
    VMs, and the seconds it took. On a terminal the running step is shown too; elsewhere the output is plain text.
  - Tasks of other collections are shown only when they change something or fail. C(ansible.builtin.debug) is always
    shown.
  - Set it with C(ANSIBLE_STDOUT_CALLBACK=onprem.autoscale.timeline). With C(-v) and more, results are printed too.
"""

import json
import sys
import time
import typing as t

from ansible.plugins.callback import CallbackBase

_COLLECTION = "onprem.autoscale."
_QUIET = (
    "scaling_action",
    "scaling_plan",
    "scaling_group_info",
    "vsphere_clone_info",
    "f5_pool_info",
    "prometheus_target_info",
)
_ROWS = ("vms", "members", "targets", "failed_vms")
_COLOURS = {"ok": "0", "changed": "32", "failed": "31", "dim": "2"}


def names_of(result: t.Mapping[str, t.Any]) -> list[str]:
    """What a result is about: names (or addresses) of its rows, failed ones marked."""
    for key in _ROWS:
        rows = result.get(key)
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            return [
                str(row.get("name") or row.get("address") or "?") + (" FAILED" if row.get("failed") else "")
                for row in rows
            ]
    return []


def describe(names: t.Sequence[str], most: int = 4) -> str:
    """Names as people read them: all of a few, the first ones and the rest's number of many."""
    if len(names) <= most:
        return ", ".join(names)
    return ", ".join(names[: most - 1]) + f" and {len(names) - most + 1} more"


class CallbackModule(CallbackBase):
    """One line a step."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "onprem.autoscale.timeline"

    def __init__(self) -> None:
        super().__init__()
        self._terminal = sys.stdout.isatty()
        self._started = time.time()
        self._task_started = self._started
        self._shown = False

    # ---- output ----------------------------------------------------------------------------------------------------
    def _line(self, text: str, colour: str = "ok") -> None:
        if self._terminal:
            text = f"\r\033[K\033[{_COLOURS[colour]}m{text}\033[0m"
        print(text, flush=True)
        self._shown = True

    def _progress(self, text: str) -> None:
        if self._terminal:
            print(f"\r\033[K\033[2m{text} ...\033[0m", end="", flush=True)

    def _stamp(self) -> str:
        return time.strftime("%H:%M:%S", time.localtime())

    # ---- events ----------------------------------------------------------------------------------------------------
    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        mode = "  (check mode: nothing is changed)" if play.check_mode else ""
        self._line(f"{self._stamp()}  {play.get_name()}{mode}")

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._task_started = time.time()
        self._progress(f"{self._stamp()}    {task.get_name().strip()}")

    def v2_runner_on_ok(self, result: t.Any) -> None:
        task, data = self._task_of(result), self._data_of(result)
        action = task.resolved_action or task.action
        for warning in data.get("warnings") or ():
            self._line(f"{self._stamp()}    warning: {warning}", "dim")
        if action == "ansible.builtin.debug":
            self._line(self._debug_text(data))
        elif self._interesting(action, data):
            self._row(task, data, "changed" if data.get("changed") else "ok")
            self._show_diff(data)
        if self._display.verbosity:
            self._line(json.dumps(self._clean(data), indent=2, default=str), "dim")

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        task, data = self._task_of(result), self._data_of(result)
        self._row(task, data, "dim" if ignore_errors else "failed", verdict="ignored" if ignore_errors else "FAILED")
        self._line(f"            {data.get('msg', data)}", "dim" if ignore_errors else "failed")
        if self._display.verbosity > 2 and data.get("exception"):
            self._line(str(data["exception"]), "dim")

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._row(self._task_of(result), self._data_of(result), "failed", verdict="UNREACHABLE")
        self._line(f"            {self._data_of(result).get('msg', '')}", "failed")

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        failed = any(
            stats.summarize(host)["failures"] or stats.summarize(host)["unreachable"] for host in stats.processed
        )
        seconds = time.time() - self._started
        self._line(
            f"{self._stamp()}  {'failed' if failed else 'done'} in {seconds:.1f} s", "failed" if failed else "ok"
        )

    # ---- helpers ---------------------------------------------------------------------------------------------------
    @staticmethod
    def _task_of(result: t.Any) -> t.Any:
        return getattr(result, "task", None) or result._task

    @staticmethod
    def _data_of(result: t.Any) -> dict[str, t.Any]:
        data = getattr(result, "result", None)
        return data if isinstance(data, dict) else result._result

    @staticmethod
    def _interesting(action: str, data: t.Mapping[str, t.Any]) -> bool:
        if action.startswith(_COLLECTION):
            return action.removeprefix(_COLLECTION) not in _QUIET
        return bool(data.get("changed")) and action not in ("ansible.builtin.set_fact", "ansible.builtin.include_tasks")

    @staticmethod
    def _debug_text(data: t.Mapping[str, t.Any]) -> str:
        text = data.get("msg", "")
        lines = text if isinstance(text, list) else [text]
        return "\n".join(f"            {line}" for line in lines)

    def _row(self, task: t.Any, data: t.Mapping[str, t.Any], colour: str, verdict: str = "") -> None:
        seconds = time.time() - self._task_started
        what = describe(names_of(data))
        text = f"{self._stamp()}    {task.get_name().strip():<42} {seconds:6.1f} s"
        self._line("  ".join(part for part in (text, verdict, what) if part), colour)

    def _show_diff(self, data: t.Mapping[str, t.Any]) -> None:
        if data.get("diff") and data.get("changed"):
            text = self._get_diff(data["diff"])
            if text and self._options_diff():
                self._line(text.rstrip())

    def _options_diff(self) -> bool:
        from ansible import context

        return bool(context.CLIARGS.get("diff"))

    @staticmethod
    def _clean(data: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        return {key: value for key, value in data.items() if not key.startswith("_ansible") and key != "invocation"}
