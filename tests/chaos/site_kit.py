# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab of several side by side, the plays that run on it, and its state as only its parts show it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import ssl
import subprocess
import time
import types
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from e2e.outside import Outside
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from lab.forked import PYTHON
from lab.settings import REPO, Settings
from lab.supervisor import Lab

from .callback.kill_at import kill_run
from .matrix_plays import CONFIG, Plays

INVENTORY = REPO / "inventories" / "lab" / "hosts.yml"
CALLBACKS = Path(__file__).resolve().parent / "callback"
GROUP = "web"
# Short, so that many runs fit; a group rests shorter than a run takes, as no run here says ignore_cooldown. The
# thresholds are out of reach: what signals there are, the tests make.
SPEC = {
    "cooldown": {"out": 1, "in": 1},
    "policies": [
        {
            "type": "threshold",
            "window": 5,
            "out": {"cpu": 99, "memory": 99, "for": 3},
            "in": {"cpu": 1, "memory": 1, "for": 3},
        }
    ],
    "scale_in": {"victim": "newest", "drain_timeout": 8, "shutdown_timeout": 5},
}
TIMES: Mapping[str, float] = types.MappingProxyType({"clone_s": 0.4, "boot_s": 0.4, "shutdown_s": 0.3})
MADE = "made"  # a VM that the group made, whatever its name


@dataclasses.dataclass
class Play:
    """An ``ansible-playbook`` that has ended."""

    rc: int
    output: str
    seconds: float
    boundaries: list[dict[str, Any]]


class Site(Outside):
    """A lab of its own with group ``web`` configured.

    :param index: LAB_INDEX of the lab.
    :param out: folder for the plays' output.
    """

    def __init__(
        self, index: int, out: Path, spec: Mapping[str, Any] | None = None, times: Mapping[str, float] = TIMES
    ):
        self.settings = Settings.numbered(index, **times)
        self.runner = Lab(self.settings, say=lambda text: None)
        self.out = out
        self.spec = {**SPEC, **(spec or {})}
        self.base = self.settings.base_members
        self.plays: Plays | None = None  # where modules, and plays that nobody kills, are forked, if anywhere

    # ---- up and down -------------------------------------------------------------------------------------------------
    def up(self, changes: Mapping[str, Any] | None = None) -> None:
        """A fresh lab, and ``configure``; *changes* to the group on top of this site's own."""
        self.down()
        super().__init__(self.runner.up())
        self.settings.write_group({**self.spec, **(changes or {})})
        self.must(self.play("configure", "configure"))

    def down(self) -> None:
        """Stop the lab, and what plays of this site may have left running."""
        kill_run(f"{self.settings.index}-*")
        self.runner.down(quiet=True)

    @staticmethod
    def must(play: Play) -> Play:
        """The play, which must have ended well."""
        if play.rc:
            raise RuntimeError(f"a play that nobody disturbed ended with {play.rc}:\n{play.output[-6000:]}")
        return play

    # ---- plays -------------------------------------------------------------------------------------------------------
    def start(
        self, name: str, label: str, extra: Mapping[str, Any] | None = None, chaos: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a playbook in a session of its own; its output goes to ``<label>.log``."""
        self._clear(label)
        forks = {PYTHON: str(self.plays.python)} if self.plays else {}
        environment = {**os.environ, **forks, **self._environment(label), **(chaos or {})}
        variables = json.dumps({"group": GROUP, **(extra or {})})
        with (self.out / f"{label}.log").open("wb") as log:
            return subprocess.Popen(
                ["ansible-playbook", f"onprem.autoscale.{name}", "-i", str(INVENTORY), "-e", variables],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPO,
                env=environment,
                start_new_session=True,
            )

    def play(
        self, name: str, label: str, extra: Mapping[str, Any] | None = None, timeout: float = 600, **chaos: str
    ) -> Play:
        """Run a playbook to its end, whatever that is. With *chaos* it is a process tree of its own, to be killed."""
        began = time.monotonic()
        if self.plays and not chaos:
            self._clear(label)
            variables = {"group": GROUP, **(extra or {})}
            code = self.plays.run(name, self.out / f"{label}.log", variables, self._environment(label), timeout)
            ended = -signal.SIGKILL if code is None else code
            return Play(ended, self.log(label), time.monotonic() - began, self.boundaries(label))
        process = self.start(name, label, extra, chaos)
        try:
            rc = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            rc = process.wait()
        return Play(rc, self.log(label), time.monotonic() - began, self.boundaries(label))

    def _clear(self, label: str) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / f"{label}.boundaries").unlink(missing_ok=True)

    def _environment(self, label: str) -> dict[str, str]:
        """What a play needs to work on this lab, and to write its boundaries down."""
        return {
            **self.settings.environment,
            "ANSIBLE_CONFIG": str(CONFIG),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "kill_at",
            "CHAOS_BOUNDARIES": str(self.out / f"{label}.boundaries"),
            "CHAOS_RUN": f"{self.settings.index}-{label}",
        }

    def log(self, label: str) -> str:
        return (self.out / f"{label}.log").read_text(errors="replace")

    def boundaries(self, label: str) -> list[dict[str, Any]]:
        """The boundaries that a play came to so far."""
        path = self.out / f"{label}.boundaries"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def control(self, part: str, method: str, path: str, body: Any = None) -> Any:
        """A call to the control port of vcenter or bigip."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.lab[part]["control"] + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=5) as response:
            text = response.read()
        return json.loads(text) if text else None

    # ---- what is there -----------------------------------------------------------------------------------------------
    def made(self) -> dict[str, dict[str, Any]]:
        """VMs by name that are neither base nor of the lab's furniture."""
        return {row["name"]: row for row in self.vm_rows() if row["name"] not in {*self.base, "web-golden"}}

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows of the ledger; none before it exists."""
        return self.ledger(query) if self.ledger_file.exists() else []

    def state(self) -> dict[str, Any]:
        """Everything that could be left behind, with names and addresses replaced by what they stand for."""
        vms = {row["name"]: row for row in self.vm_rows() if row["name"] != "web-golden"}
        role = {address: name for name, address in self.base.items()}
        role |= {row["address"]: MADE for name, row in vms.items() if name not in self.base and row["address"]}
        names = {name: name if name in self.base else MADE for name in vms}

        def who(address: str) -> str:
            return role.get(address, f"nobody at {address}")

        return {
            "vms": sorted([names[name], row["power"], row["state"], sorted(row["marks"])] for name, row in vms.items()),
            "members": sorted([who(row["address"]), row["session"], row["availability"]] for row in self.member_rows()),
            "targets": sorted(who(target.rpartition(":")[0]) for target in self.target_addresses()),
            "leases": sorted(
                [who(row["address"]), names.get(row["member"], f"no VM {row['member']}")]
                for row in self.rows("select address, member from leases")
            ),
            "ledger": sorted(
                [names.get(row["name"], f"no VM {row['name']}"), row["state"]]
                for row in self.rows("select name, state from members")
            ),
            "locks": self.rows("select group_name, action from locks"),
            "running": self.rows("select ident from actions where state = 'running'"),
        }

    def settled(self, wanted: Mapping[str, Any], timeout: float = 6.0) -> dict[str, Any]:
        """The state, once it is *wanted* or *timeout* is over: a monitor and a target take a moment."""
        deadline = time.monotonic() + timeout
        while (state := self.state()) != wanted and time.monotonic() < deadline:
            time.sleep(0.3)
        return state

    def leaked(self, expected: int) -> dict[str, int]:
        """What there is beyond *expected* members made, or belongs to no VM."""
        made = self.made()
        addresses = {row["address"] for row in made.values()} | set(self.base.values())
        members = {row["address"] for row in self.member_rows()}
        targets = [target.rpartition(":")[0] for target in self.target_addresses()]
        leases = self.rows("select address, member from leases")
        return {
            "vms": max(0, len(made) - expected),
            "members": len(members - addresses),
            "targets": sum(1 for target in targets if target not in addresses),
            "leases": sum(
                1 for row in leases if row["member"] not in made or made[row["member"]]["address"] != row["address"]
            ),
        }

    def history(self) -> dict[str, list[str]]:
        """Names of the VMs that were ever cloned and removed, as vCenter's own events say, oldest first."""
        info = self.lab["vcenter"]
        instance = SmartConnect(
            host=info["hostname"],
            port=info["port"],
            user=info["username"],
            pwd=Path(info["password_file"]).read_text().strip(),
            sslContext=ssl.create_default_context(cafile=info["ca_path"]),
        )
        try:
            kinds = {"cloned": "VmClonedEvent", "removed": "VmRemovedEvent"}
            found = {}
            for key, kind in kinds.items():
                spec = vim.event.EventFilterSpec(eventTypeId=[kind], maxCount=1000)
                rows = sorted(instance.content.eventManager.QueryEvents(spec), key=lambda event: event.key)
                found[key] = [event.vm.name for event in rows]
            return found
        finally:
            Disconnect(instance)


def until(look: Callable[[], Any], what: str, timeout: float = 60.0, step: float = 0.05) -> Any:
    """Wait until *look* answers something true; the answer."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout:g} s")
        time.sleep(step)
    return found
