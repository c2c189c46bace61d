# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out one kill after the other in a lab of its own: start, kill, reconcile, compare from outside."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from .callback.kill_at import kill_run
from .services import SPEC as SERVICES_SPEC
from .services import Services
from .site_kit import Site, until

PATIENCE_S = 240  # for what takes seconds: the machine may be busy
PLAYS = {"out": "scale_out", "in": "scale_in"}
SIZE_BEFORE = {"out": 0, "in": 1}  # members made, before an undisturbed run
SIZE_AFTER = {"out": 1, "in": 0}
LOCK_TTL_S = 5  # its heartbeat comes four times as often, also on a busy machine
RECONCILE = {"lock_wait": 30}  # seconds; the lock of a killed play runs out in LOCK_TTL_S


@dataclasses.dataclass(frozen=True)
class Kill:
    """What is to be killed when.

    :param direction: ``out`` or ``in``.
    :param number: the boundary, from 1; 0 for a kill inside a task.
    :param task: name of the task before which, or in which, the play dies.
    :param inside: name of the moment inside the task (see MOMENTS), or of the point where a service dies (see
        services.py); empty at a boundary.
    :param everything: the play's other processes die too; else the module that runs goes on without its play.
    :param part: who dies: ``play``, ``receiver``, ``dispatcher``, ``alertmanager``.
    """

    direction: str
    number: int
    task: str
    inside: str = ""
    everything: bool = False
    part: str = "play"

    @property
    def label(self) -> str:
        if self.part != "play":
            return f"{self.part}-{self.inside}{'-all' if self.everything else ''}"
        if self.inside:
            return f"{self.direction}-{self.inside}{'-all' if self.everything else ''}"
        return f"{self.direction}-{self.number:02d}"


@dataclasses.dataclass
class Result:
    """How a kill ended. ``misses`` is empty when all is as in an undisturbed run."""

    kill: Kill
    promised: str = ""  # nothing | started | planned | ended: how far the journal was
    left: list[str] = dataclasses.field(default_factory=list)  # what differed from the wanted end before the reconcile
    misses: list[str] = dataclasses.field(default_factory=list)
    leaked: dict[str, int] = dataclasses.field(default_factory=dict)
    repeated: int = 0
    seconds: float = 0.0
    worker: int = 0

    def row(self) -> dict[str, Any]:
        """As kills.json has it."""
        kill = dataclasses.asdict(self.kill)
        return {"label": self.kill.label, **kill, **{k: v for k, v in dataclasses.asdict(self).items() if k != "kill"}}


# ---- moments inside long tasks ---------------------------------------------------------------------------------------
def _vm(site: Site) -> dict[str, Any]:
    return next(iter(site.made().values()), {})


def _member(site: Site) -> dict[str, Any]:
    base = set(site.base.values())
    return next((row for row in site.member_rows() if row["address"] not in base), {})


# name: (direction, module whose task it is, what must be seen from outside before the kill, seconds to wait after that)
MOMENTS: dict[str, tuple[str, str, Callable[[Site], Any], float]] = {
    "clone-asked": ("out", "vsphere_clone", lambda site: True, 0.25),
    "clone-begun": ("out", "vsphere_clone", _vm, 0.0),
    "clone-half-made": ("out", "vsphere_clone", _vm, 0.1),
    "customizing": ("out", "vsphere_clone", lambda site: _vm(site).get("power") == "poweredOn", 0.0),
    "booting": ("out", "vsphere_clone", lambda site: _vm(site).get("power") == "poweredOn", 0.25),
    "gate": ("out", "health_gate", lambda site: True, 0.6),
    "pool-join": ("out", "f5_pool_member", _member, 0.0),
    "pool-enabled": ("out", "f5_pool_member", lambda site: _member(site).get("session", "").endswith("-enabled"), 0.2),
    "target-wait": ("out", "prometheus_target", lambda site: len(site.target_addresses()) > 2, 0.5),
    "target-written": ("out", "prometheus_target", lambda site: len(site.target_addresses()) > 2, 0.0),
    "drain": ("in", "f5_pool_member", lambda site: _member(site).get("session") == "user-disabled", 0.3),
    "drained": ("in", "f5_pool_member", lambda site: _member(site).get("session") == "user-disabled", 0.0),
    "untarget": ("in", "prometheus_target", lambda site: True, 0.6),
    "delete-asked": ("in", "vsphere_clone", lambda site: True, 0.25),
    "delete-off": ("in", "vsphere_clone", lambda site: _vm(site).get("power") == "poweredOff", 0.0),
}


class Worker:
    """A lab and what it takes to kill plays in it.

    :param say: takes a progress line.
    """

    def __init__(self, index: int, out: Any, say: Callable[[str], None]) -> None:
        self.index = index
        self.site = Site(index, out)
        self.say = say
        self.size: int | None = 0  # members made; None: nobody knows, the lab has to be made anew
        self.ends: dict[str, dict[str, Any]] = {}  # direction -> state after an undisturbed run

    def up(self) -> None:
        self.site.up()
        self.size = 0

    def undisturbed(self, direction: str, **chaos: str) -> list[dict[str, Any]]:
        """Run a play that nobody kills; its boundaries. Its end is what every killed one must come to."""
        play = self.site.must(self.site.play(PLAYS[direction], f"{direction}-undisturbed-{self.index}", **chaos))
        self.size = SIZE_AFTER[direction]
        if len(self.site.made()) != self.size:
            raise RuntimeError(
                f"an undisturbed scale_{direction} made {sorted(self.site.made())}:\n{play.output[-4000:]}"
            )
        return play.boundaries

    def learn(self, direction: str) -> list[dict[str, Any]]:
        """As :meth:`undisturbed`, and keep the end state as the wanted one."""
        boundaries = self.undisturbed(direction, CHAOS_KILL_AT="0")  # a play of the kind that will be killed
        until(self.is_steady, "a steady state", 20)
        self.ends[direction] = self.site.state()
        return boundaries

    def is_steady(self) -> bool:
        """Every member of the pool answers its monitor."""
        return all(row["availability"] == "available" for row in self.site.member_rows())

    # ---- one kill ----------------------------------------------------------------------------------------------------
    def carry_out(self, kill: Kill) -> Result:
        """Never raises: what goes wrong is a miss."""
        began = time.monotonic()
        result = Result(kill, worker=self.index)
        try:
            if kill.part == "play":
                self._attempt(kill, result)
            else:
                self._serve(kill, result)
        except Exception:
            result.misses.append(traceback.format_exc(limit=4))
        if result.misses:
            self._keep(result)
            self._repair(result)
        result.seconds = time.monotonic() - began
        return result

    def _attempt(self, kill: Kill, result: Result) -> None:
        """Kill a play."""
        if self.size is None:
            self.up()
        if self.size != SIZE_BEFORE[kill.direction]:
            self.undisturbed("out" if kill.direction == "in" else "in")
        before, last = self.site.history(), _last_event(self.site)
        self._killed(kill, result)
        result.promised, names = self._journal(last)
        self._reconcile_and_compare(kill, result, before, last, names)

    def _serve(self, kill: Kill, result: Result) -> None:
        """Kill a service, in a fresh lab with a cooldown of its own."""
        self.size = None
        self.site.up(SERVICES_SPEC)
        services = Services(self.site, kill.label)
        try:
            services.scenario(kill.part, kill.inside, kill.everything)
        finally:
            services.close()
        result.promised = "one action"
        self._reconcile_and_compare(kill, result, {"cloned": [], "removed": []}, 0, [])
        self.size = None

    def _reconcile_and_compare(
        self, kill: Kill, result: Result, before: dict[str, list[str]], last: int, names: list[str]
    ) -> None:
        """One reconcile, then everything as in an undisturbed run.

        :param before: what vCenter had done before the kill; *last*: number of the last event then.
        :param names: VMs that the stored plan of the killed play named.
        """
        site = self.site
        acted = result.promised != "nothing"
        other = "in" if kill.direction == "out" else "out"
        expected = SIZE_AFTER[kill.direction] if acted else SIZE_BEFORE[kill.direction]
        wanted = self.ends[kill.direction if acted else other]
        at_kill = site.state()
        result.left = [key for key in wanted if at_kill[key] != wanted[key]]
        play = site.play("reconcile", f"{kill.label}-reconcile", RECONCILE)
        if play.rc:
            result.misses.append(f"reconcile ended with {play.rc}")
        result.misses += _differences(wanted, site.settled(wanted))
        result.leaked = site.leaked(expected)
        self._compare_history(kill, result, before, acted, names)
        self._compare_events(kill, result, last, acted)
        self.size = expected

    def _killed(self, kill: Kill, result: Result) -> None:
        """Run the play until it is killed."""
        run = f"{self.index}-{kill.label}"
        if not kill.inside:
            chaos = {"CHAOS_KILL_AT": str(kill.number), **({"CHAOS_KILL_ALL": "1"} if kill.everything else {})}
            play = self.site.play(PLAYS[kill.direction], kill.label, {"lock_ttl": LOCK_TTL_S}, **chaos)
            rc, came_to = play.rc, [row["task"] for row in play.boundaries][-1:]
            if came_to != [kill.task]:
                result.misses.append(f"killed before {came_to}, not before {kill.task!r}")
        else:
            rc = self._killed_inside(kill, run)
        if rc != -signal.SIGKILL:
            raise RuntimeError(f"the play was not killed, it ended with {rc}")

    def _killed_inside(self, kill: Kill, run: str) -> int:
        site, (_direction, module, seen, delay) = self.site, MOMENTS[kill.inside]
        held = Held(site.lab["bigip"]["vip"]) if kill.inside == "drain" else None
        process = site.start(PLAYS[kill.direction], kill.label, {"lock_ttl": LOCK_TTL_S})
        try:
            until(
                lambda: _ended(process) or (_in_task(site, kill.label, module) and seen(site)),
                f"moment {kill.inside}",
                PATIENCE_S,
                0.02,
            )
            time.sleep(delay)
            process.kill()
            if kill.everything:
                kill_run(run)
            return process.wait(10)
        finally:
            if held:
                held.close()
            if process.poll() is None:
                process.kill()
                process.wait()

    def _journal(self, last: int) -> tuple[str, list[str]]:
        """How far the action of the killed play is in the ledger, and the VM names that it speaks of."""
        rows = self.site.rows(
            "select ident, state, plan from actions where state = 'running' and direction != 'reconcile'"
        )
        if rows:
            plan = json.loads(rows[0]["plan"]) if rows[0]["plan"] else None
            names = [row["name"] for key in ("launches", "victims") for row in (plan or {}).get(key) or ()]
            return "planned" if plan else "started", names
        return ("ended" if _last_event(self.site) > last else "nothing"), []

    def _compare_history(
        self, kill: Kill, result: Result, before: dict[str, list[str]], acted: bool, names: list[str]
    ) -> None:
        """What vCenter did in this kill: exactly what an undisturbed run does, with the names that were promised."""
        now = self.site.history()
        new = {key: now[key][now[key].index(before[key][-1]) + 1 if before[key] else 0 :] for key in now}
        doing = {"out": "cloned", "in": "removed"}[kill.direction]
        for key, found in new.items():
            wanted = 1 if acted and key == doing else 0
            if len(found) != wanted:
                result.misses.append(f"VMs {key}: {found}, an undisturbed run has {wanted}")
                result.repeated += max(0, len(found) - wanted)
            if wanted and names and found[:1] != names:
                result.misses.append(f"{key} was {found}, the stored plan said {names}")

    def _compare_events(self, kill: Kill, result: Result, last: int, acted: bool) -> None:
        """Exactly one action succeeded, and it did so once."""
        rows = [row for row in self.site.rows("select * from events order by id") if row["id"] > last]
        done = [row for row in rows if row["kind"] == f"scale_{kill.direction}" and row["result"] == "succeeded"]
        if len(done) != int(acted):
            result.misses.append(f"{len(done)} actions of scale_{kill.direction} succeeded, not {int(acted)}")
        result.repeated += max(0, len(done) - 1)
        allowed = [("reconcile", "succeeded"), *([] if kill.part == "play" else [("scale_out", "refused")])]
        for row in rows:
            if row not in done and (row["kind"], row["result"]) not in allowed:
                result.misses.append(f"another event: {row['kind']}, {row['code']}, {row['result']}, {row['message']}")

    # ---- when it went wrong ------------------------------------------------------------------------------------------
    def _keep(self, result: Result) -> None:
        """What a person needs to understand a miss, in ``misses/<label>.json``."""
        folder = self.site.out / "misses"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            tables = ("actions", "steps", "members", "leases", "locks", "events")
            ledger = {table: self.site.rows(f"select * from {table}")[-12:] for table in tables}  # noqa: S608
            seen = {
                "state": self.site.state(),
                "vms": list(self.site.made().values()),
                "members": self.site.member_rows(),
            }
        except Exception:
            ledger, seen = {}, {"unread": traceback.format_exc(limit=2)}
        text = json.dumps({**result.row(), **seen, "ledger": ledger}, indent=1, default=str)
        (folder / f"{result.kill.label}.json").write_text(text + "\n")

    def _repair(self, result: Result) -> None:
        """A lab of which nobody knows the state is made anew."""
        kill_run(f"{self.index}-{result.kill.label}")
        try:
            self.up()
        except Exception:
            result.misses.append("and the lab does not start again: " + traceback.format_exc(limit=2))


class Held:
    """Connections through the virtual server that keep a drain waiting."""

    def __init__(self, vip: str, count: int = 9) -> None:
        host, _colon, port = vip.rpartition(":")
        self.sockets = [socket.create_connection((host, int(port)), timeout=5) for _number in range(count)]
        for connection in self.sockets:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: held\r\n")

    def close(self) -> None:
        for connection in self.sockets:
            connection.close()


class Pool:
    """The kills still to do, shared by the workers."""

    def __init__(self, kills: list[Kill]) -> None:
        self._kills = list(kills)
        self._lock = threading.Lock()

    def give_up(self) -> None:
        """Nobody gets another one."""
        with self._lock:
            self._kills.clear()

    def take(self, size: int | None) -> Kill | None:
        """One that fits a group with *size* members made, else any; ``None`` when none is left."""
        with self._lock:
            plays = [kill for kill in self._kills if kill.part == "play"]
            fitting = [kill for kill in plays if SIZE_BEFORE[kill.direction] == size]
            kill = next(iter(fitting or plays or self._kills), None)
            if kill:
                self._kills.remove(kill)
            return kill


def _ended(process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is None:
        return False
    raise RuntimeError(f"the play ended with {process.returncode} before its moment came")


def _in_task(site: Site, label: str, module: str) -> bool:
    rows = site.boundaries(label)
    return bool(rows) and rows[-1]["action"] == f"onprem.autoscale.{module}"


def _last_event(site: Site) -> int:
    return max((row["id"] for row in site.rows("select id from events")), default=0)


def _differences(wanted: dict[str, Any], state: dict[str, Any]) -> list[str]:
    return [f"{key} are {state[key]}, not {wanted[key]}" for key in wanted if state[key] != wanted[key]]


def own_environment() -> None:
    """The tests' own settings must not reach the plays."""
    for name in ("LAB_DIR", "LAB_JSON", "LAB_INDEX"):
        os.environ.pop(name, None)
