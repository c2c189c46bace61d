# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out cells of the fault matrix in a lab of its own: arm the fault, run the play, reconcile, look."""

from __future__ import annotations

import json
import time
import traceback
from pathlib import Path
from typing import Any

from lab.faults.spawn import FaultProxy, before, through
from lab.tls import make_tls

from .matrix_cells import FAULTS, PLAYS, SIZE_AFTER, SIZE_BEFORE, Call, Cell, Result, rows_seen
from .matrix_plays import Plays
from .matrix_watch import Watch
from .site_kit import GROUP, Site, until

SIZE = {"min": 2, "max": 3, "step_out": 1, "step_in": 1}  # two base members and one made: one VM too many is seen
SPEC = {
    "size": SIZE,
    "timeouts": {"clone": 20, "customization": 12, "address": 12, "gate": 12, "pool": 12, "target": 12},
    "scale_in": {"victim": "newest", "drain_timeout": 6, "shutdown_timeout": 3},
    "breaker": {"failures": 20, "window": 60, "probe_after": 60},  # each cell is a world of its own
    "quarantine": {"keep": 0},
}
TIMES = {"clone_s": 0.2, "boot_s": 0.2, "shutdown_s": 0.2}
PLAY_LIMIT_S = 240
SETTLE_S = 5.0
KEPT = "so it keeps its address until"  # what reconcile says of a member that may still be cloned
LAB_FILE = "{{ lookup('ansible.builtin.file', lab.bigip.password_file) }}"
VARIABLES = {
    "group": GROUP,
    "ignore_cooldown": True,
    "lock_ttl": 60,
    "autoscale_f5": {
        "hostname": "{{ lab.bigip.hostname }}",
        "port": "{{ lab.bigip.port }}",
        "username": "{{ lab.bigip.username }}",
        "password": LAB_FILE,
        "ca_path": "{{ lab.bigip.ca_path }}",
        "busy_timeout": 6,
    },
}


class Worker:
    """A lab, the proxy before it, and what two undisturbed plays left."""

    faults = FAULTS
    each = False  # a row for each time a call is made
    variables: dict[str, Any] = VARIABLES

    def __init__(self, index: int, out: Path, plays: Plays) -> None:
        self.index = index
        self.plays = plays
        self.site = Site(index, out / str(index), SPEC, TIMES)
        self.proxy: FaultProxy | None = None
        self.size = 0
        self.ends: dict[int, dict[str, Any]] = {}  # members made -> state after an undisturbed run

    # ---- up and down -------------------------------------------------------------------------------------------------
    def up(self) -> None:
        """A fresh lab with a fresh proxy, and nothing made."""
        if self.proxy is not None:
            self.proxy.stop()
        self.site.up()
        folder = self.site.settings.folder
        self.proxy = before(self.site.lab, folder / "faults", make_tls(folder / "tls"), self.more_listeners()).start()
        self._description.write_text(json.dumps(self.description(self.proxy), indent=2))
        self.size = 0

    def down(self) -> None:
        if self.proxy is not None:
            self.proxy.stop()
        self.site.down()

    def more_listeners(self) -> list[dict[str, Any]]:
        """What else the proxy stands before."""
        return []

    def description(self, proxy: FaultProxy) -> dict[str, Any]:
        """What lab.json says to the plays."""
        return through(self.site.lab, proxy)

    def rows_of(self, direction: str, calls: list[dict[str, Any]]) -> list[Call]:
        """The rows that an undisturbed play makes."""
        return rows_seen(direction, calls, self.each)

    @property
    def _description(self) -> Path:
        return self.site.settings.folder / "lab-faults.json"

    # ---- plays -------------------------------------------------------------------------------------------------------
    def play(self, name: str, label: str) -> int | None:
        """Run a playbook through the proxy; its exit status, None when it did not end and was killed."""
        environment = {**self.site.settings.environment, "LAB_JSON": str(self._description)}
        return self.plays.run(name, self.site.out / f"{label}.log", self.variables, environment, PLAY_LIMIT_S)

    def undisturbed(self, direction: str) -> list[Call]:
        """A play without a fault; the calls that it made."""
        self._wait_until_told()
        self.proxy.clear()
        self.proxy.forget_calls()
        rc = self.play(PLAYS[direction], f"{direction}-undisturbed")
        wanted = SIZE_AFTER[direction]
        if rc != 0 or len(self.site.made()) != wanted:
            text = self.site.log(f"{direction}-undisturbed")
            raise RuntimeError(f"an undisturbed scale_{direction} ended with {rc}:\n{text[-4000:]}")
        self.size = wanted
        until(self._steady, "a steady state", 30)
        self.ends[wanted] = self.site.state()
        return self.rows_of(direction, self.proxy.calls())

    def _wait_until_told(self) -> None:
        """A target that is only not forgotten yet counts (A5), and the group would be at its maximum."""
        until(self.site.is_told, "Prometheus to read the file of targets", 20)

    def _steady(self) -> bool:
        return all(row["availability"] == "available" for row in self.site.member_rows())

    # ---- a cell ------------------------------------------------------------------------------------------------------
    def carry_out(self, cell: Cell) -> Result:
        """Never raises: what goes wrong is a why."""
        began = time.monotonic()
        result = Result(cell, worker=self.index)
        try:
            if self.size != SIZE_BEFORE[cell.call.play]:
                self.undisturbed("out" if cell.call.play == "in" else "in")
            self._attempt(cell, result)
        except Exception:
            result.why.append(traceback.format_exc(limit=4))
        if not result.ok:
            self._keep(result)
            self._repair(result)
        result.seconds = time.monotonic() - began
        return result

    def _attempt(self, cell: Cell, result: Result) -> None:
        site, play = self.site, cell.call.play
        self._wait_until_told()
        last = self.last_event()
        self.proxy.clear()
        self.proxy.forget_calls()
        skip = max(0, cell.call.number - 1)
        self.proxy.fault(cell.call.backend, call=cell.call.call, skip=skip, **cell.fault.rule)
        with Watch(site, SIZE) as watch:
            result.play_rc = self.play(PLAYS[play], cell.label)
            self.proxy.clear()
            struck = [row for row in self.proxy.calls() if row["fault"] and "none" not in row["fault"]]
            result.applied = sum(row["count"] for row in struck)
            self.read_event(play, last, result)
            self._compare(cell, result)
        self.after(play, last, result)
        result.why += watch.seen
        if not result.applied and result.ok:
            if cell.fault.reads_only:
                result.not_applicable = "no older answer to this question"
            elif cell.call.number > 1:
                result.not_applicable = "the call was not made so often in this run"
            else:
                result.why.append("the call did not occur in this run")
        self.size = len(site.made())

    def read_event(self, play: str, last: int, result: Result) -> None:
        """What the ledger says about the action; it has to say what the play's exit status says."""
        rows = [row for row in self.site.rows("select * from events order by id") if row["id"] > last]
        rows = [row for row in rows if row["kind"] == PLAYS[play]] or rows
        if result.play_rc is None:
            result.why.append(f"the play did not end within {PLAY_LIMIT_S} s")
        if len(rows) != 1:
            result.why.append(f"{len(rows)} events for one action: {[(row['kind'], row['code']) for row in rows]}")
        if rows:
            result.result, result.code = rows[-1]["result"], rows[-1]["code"]
            result.message = (rows[-1]["message"] or "")[:300]
        if result.play_rc is not None and (result.play_rc == 0) != (result.result in ("succeeded", "refused")):
            result.why.append(f"the play ended with {result.play_rc}, its event says {result.result or 'nothing'}")

    def after(self, play: str, last: int, result: Result) -> None:
        """What else has to hold in the end."""

    def _compare(self, cell: Cell, result: Result) -> None:
        """The state from outside, at once where the play promised it, else after one reconcile; see KEPT."""
        play = cell.call.play
        allowed = {
            "succeeded": [SIZE_AFTER[play]],
            "refused": [SIZE_BEFORE[play]],
        }.get(result.result, [SIZE_BEFORE[play], SIZE_AFTER[play]])
        state = self._settled(allowed)
        if state is None:
            return
        if result.result in ("succeeded", "refused"):
            result.why.append(f"it {result.result}, but " + self._differences(allowed, state))
        result.reconciled = True
        rc = self.play("reconcile", f"{cell.label}-reconcile")
        if rc != 0:
            result.why.append(f"reconcile ended with {rc}")
        state = self._settled([0, 1])
        if state is not None and KEPT in self.site.log(f"{cell.label}-reconcile"):
            # Nobody can know that no clone was asked for: the address comes back once one would have ended.
            time.sleep(SPEC["timeouts"]["clone"])
            self.play("reconcile", f"{cell.label}-reconcile-later")
            state = self._settled([0, 1])
        if state is not None:
            result.why.append("after reconcile " + self._differences([0, 1], state))

    def _settled(self, sizes: list[int]) -> dict[str, Any] | None:
        """None once the state is one of an undisturbed group of these sizes; else the state that it stays in."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            state = self.site.state()
            if any(state == self.ends[size] for size in sizes):
                return None
            if time.monotonic() > deadline:
                return state
            time.sleep(0.3)

    def _differences(self, sizes: list[int], state: dict[str, Any]) -> str:
        """In what the state differs from the nearest of the allowed ones."""
        found = [
            [
                f"{key} are {state[key]}, not {self.ends[size][key]}"
                for key in state
                if state[key] != self.ends[size][key]
            ]
            for size in sizes
        ]
        return "; ".join(min(found, key=len))

    def last_event(self) -> int:
        return self.site.rows("select coalesce(max(id), 0) as id from events")[0]["id"]

    # ---- when it went wrong ------------------------------------------------------------------------------------------
    def _keep(self, result: Result) -> None:
        """What a person needs to understand it, beside the play's log."""
        try:
            tables = ("actions", "steps", "members", "leases", "locks", "events")
            kept = {table: self.site.rows(f"select * from {table}")[-8:] for table in tables}  # noqa: S608
            kept |= {"state": self.site.state(), "calls": self.proxy.calls()}
        except Exception:
            kept = {"unread": traceback.format_exc(limit=2)}
        path = self.site.out / f"{result.cell.label}.json"
        path.write_text(json.dumps({**result.row(), **kept}, indent=1, default=str) + "\n")

    def _repair(self, result: Result) -> None:
        """A lab of which nobody knows the state is made anew, and shown older answers again."""
        try:
            self.up()
            self.undisturbed("out")
            self.undisturbed("in")
        except Exception:
            result.why.append("and the lab does not start again: " + traceback.format_exc(limit=2))
