# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, end to end: real load, Prometheus's own rule, Alertmanager's own webhook, VMs that come and go.

Run by `make demo`. Writes build/demo/summary.json and build/demo/report.html; any miss is a non-zero exit.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e import report
from e2e.observer import Observer

from lab import dashboards
from lab.process import LabError, answers
from lab.settings import REPO, Settings
from lab.supervisor import Lab

OUT = REPO / "build" / "demo"
INVENTORY = REPO / "inventories" / "lab" / "hosts.yml"
CALM, BUSY = 20.0, 190.0  # requests/s; a guest is at 100 % CPU with 50
LIMIT_S = 290.0
EXPECTED = ["scale_out", "scale_out", "at_max", "scale_in", "scale_in", "at_min"]


class Demo:
    """One run: phases, timeline, verdict."""

    out = OUT
    limit_s = LIMIT_S
    group = "web"
    receiver_options: Mapping[str, Any] = {}

    def __init__(self, settings: Settings | None = None) -> None:
        self.began = time.time()
        self.lab = Lab(settings, say=self.say)
        self.misses: list[str] = []
        self.shown = 0

    def say(self, text: str) -> None:
        print(f"{time.time() - self.began:6.1f} s  {text}", flush=True)

    # ---- set-up ------------------------------------------------------------------------------------------------------
    def prepare(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        self.lab.down(quiet=True)
        self.description = self.connect(self.lab.up())
        self.began_measuring = time.time()
        self.rate_file = self.out / "rate"
        self.stats = self.out / "load.jsonl"
        self.stats.touch()
        self.start_load()
        self.observer = self.watch()
        self.observer.start()

    def start_load(self) -> None:
        """Clients, as many as the rate file says, until the end."""
        self.set_rate(CALM)
        url = f"http://{self.description['bigip']['vip']}"
        self.run_load("lab.load", "--url", url)

    def run_load(self, module: str, *arguments: str, **environment: str) -> None:
        """Start *module* as the load; it reads the rate file and writes its stats."""
        self.lab.part("load").start(
            [sys.executable, "-m", module, *arguments, "--rate-file", str(self.rate_file), "--stats", str(self.stats)],
            environment={"PYTHONPATH": str(REPO / "tests"), **environment},
        )

    def watch(self) -> Observer:
        """Who samples what is plotted."""
        return Observer(self.description, self.stats)

    def enable(self) -> None:
        """Enable the group under load: one that is enabled idle may be asked to shrink before it ever grew."""
        time.sleep(6)
        self.set_rate(BUSY)
        self.playbook("configure")
        self.start_receiver()

    def connect(self, description: dict[str, Any]) -> dict[str, Any]:
        """What the playbooks and the receiver shall know of the lab, from what lab.json says."""
        return description

    def down(self) -> None:
        """Stop everything."""
        self.lab.down(quiet=True)

    def playbook(self, name: str, *arguments: str) -> None:
        """Run a playbook by its full name, its output in the demo's folder and on the screen."""
        command = [
            "ansible-playbook",
            f"onprem.autoscale.{name}",
            "-i",
            str(INVENTORY),
            "-e",
            f"group={self.group}",
            *arguments,
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=REPO)
        (self.out / f"{name}.log").write_text(result.stdout + result.stderr)
        for line in result.stdout.splitlines():
            self.say(f"  | {line}")
        if result.returncode:
            raise LabError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")

    def start_receiver(self) -> None:
        settings = self.lab.settings
        config = settings.folder / "receiver.yml"
        options = {**receiver_config(self.description, settings.receiver_port), **self.receiver_options}
        config.write_text(yaml.safe_dump(options, sort_keys=False))
        part = self.lab.part("receiver")
        module = "ansible_collections.onprem.autoscale.plugins.plugin_utils._intake"
        part.start([sys.executable, "-m", module, "--config", str(config)], cwd=REPO)
        part.wait_ready(lambda: answers(f"http://{settings.host}:{settings.receiver_port}/healthz"))
        self.say(f"receiver on http://{settings.host}:{settings.receiver_port}")

    def set_rate(self, rate: float) -> None:
        self.rate_file.write_text(f"{rate:g}")
        self.say(f"load: {rate:g} requests/s")

    # ---- the loop ----------------------------------------------------------------------------------------------------
    def wait_for(self, what: str, done: Callable[[], bool]) -> bool:
        """Wait until *done*; a miss is noted, not raised, so that the closing table still comes."""
        while time.time() - self.began_measuring < self.limit_s:
            self.show_events()
            if done():
                self.say(f"reached: {what}")
                return True
            time.sleep(0.5)
        self.misses.append(f"{what}: not within {self.limit_s:g} s")
        return False

    def show_events(self) -> None:
        """Print what the ledger has recorded since the last look."""
        try:
            events = self.observer.events()
        except Exception:
            return
        for event in events[self.shown :]:
            self.say(
                f"{event['action']}: {event['code']} {event['count_before']} -> {event['count_after']}"
                f"  [{', '.join(event['members'])}]  {self.now()}"
            )
        self.shown = len(events)

    def now(self) -> str:
        """What the last sample says."""
        sample = self.observer.samples[-1] if self.observer.samples else {}
        cpu = "?" if sample.get("cpu") is None else round(sample["cpu"])
        return (
            f"load {sample.get('rate', 0):g}/s, busiest CPU {cpu} %, VMs {sample.get('vms')},"
            f" in service {sample.get('in_service')}"
        )

    def codes(self) -> list[str]:
        """Codes of the events, repeated refusals once."""
        codes: list[str] = []
        for event in self.observer.events():
            if not (codes and codes[-1] == event["code"] and event["result"] == "refused"):
                codes.append(event["code"])
        return codes

    def loop(self) -> None:
        self.enable()
        grown = self.wait_for("2 -> 3 -> 4, then refused at max", lambda: self.codes()[-1:] == ["at_max"])
        if grown:
            time.sleep(3)
            self.set_rate(CALM)
            self.wait_for("4 -> 3 -> 2, then refused at min", lambda: self.codes()[-1:] == ["at_min"])
        time.sleep(2)

    # ---- the end -----------------------------------------------------------------------------------------------------
    def close(self) -> dict[str, Any]:
        self.lab.part("load").stop(timeout=40)
        leaked = self.observer.leaked(self.base_members)
        self.lab.part("receiver").stop()
        self.settle()
        self.observer.stop()
        load = self.observer.load()
        actions = [as_action(event) for event in self.observer.events()]
        summary = {
            "setting": self.setting(),
            "actions": actions,
            "requests_total": load["ok"] + load["failed"],
            "requests_failed": load["failed"],
            "leaked": leaked,
            "seconds": time.time() - self.began_measuring,
        }
        self.judge(summary)
        if load["failed"]:
            self.misses.append(f"{load['failed']} of {load['ok'] + load['failed']} requests failed; see {self.stats}")
        if not load["ok"]:
            self.misses.append("no request was served")
        self.misses += [f"{number} {name} leaked" for name, number in leaked.items() if number]
        summary["misses"] = self.misses
        (self.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        self.write_report(summary)
        return summary

    @property
    def base_members(self) -> Mapping[str, str]:
        """Members that are not the autoscaler's, address by name."""
        return self.lab.settings.base_members

    def setting(self) -> dict[str, Any]:
        """What the run's numbers depend on."""
        times = {"clone_s": self.lab.settings.clone_s, "boot_s": self.lab.settings.boot_s}
        return {"min": 2, "max": 4, "calm_rps": CALM, "busy_rps": BUSY, **times}

    def write_report(self, summary: dict[str, Any]) -> None:
        report.write(self.out / "report.html", summary, self.observer.samples)

    def settle(self, timeout: float = 60.0) -> None:
        """Wait for plays that the receiver started and that outlive it, so that none finds its backends gone."""
        deadline = time.time() + timeout
        while self.observer.ledger("select action from locks") and time.time() < deadline:
            time.sleep(0.5)

    def judge(self, summary: dict[str, Any]) -> None:
        """Note what is missing of the course of actions; add to the summary what else is to be told."""
        self.look_at_dashboards(summary)
        if self.codes() != EXPECTED:
            self.misses.append(f"the actions were {self.codes()}, expected {EXPECTED}")

    def look_at_dashboards(self, summary: dict[str, Any]) -> None:
        """Every query of the role's dashboards against the Prometheus that has just seen all of it (A12)."""
        url, minutes = self.description["prometheus"]["url"], (time.time() - self.began_measuring) / 60
        setting = {"minutes": minutes, "rate_interval": "5s", "values": {"group": "web"}}
        # The demo's group is a service.
        pages = [page for name, page in dashboards.pages().items() if name != "model.json"]
        asked = [query for page in pages for query in dashboards.queries(page)]
        found = [line for page in pages for line in dashboards.without_data(page, url, **setting)]
        failed = any(event["result"] == "failed" for event in self.observer.events())
        empty = [line for line in found if failed or "/ annotation Failed:" not in line]  # marks of what did not happen
        summary["dashboards"] = {"queries": len(asked), "without_data": empty}
        self.misses += [f"dashboard without data: {line}" for line in empty]
        self.say(f"dashboards: {len(asked)} queries, {len(empty)} without data")

    def table(self, summary: dict[str, Any]) -> None:
        self.table_of_actions(summary)
        out = self.out.relative_to(REPO)
        print(
            f"\nrequests {summary['requests_total']}, failed {summary['requests_failed']}; leaked {summary['leaked']};"
            f" {summary['seconds']:.0f} s\n{out}/report.html, {out}/summary.json"
        )
        self.print_misses()

    @staticmethod
    def table_of_actions(summary: dict[str, Any]) -> None:
        print(f"\n{'action':<10} {'code':<10} {'VMs':<6} {'seconds':>7}  steps (seconds)")
        for action in summary["actions"]:
            steps = "  ".join(f"{step['step']} {step['seconds']:.1f}" for step in action["steps"])
            count = f"{action['count_before']}->{action['count_after']}"
            print(f"{action['name']:<10} {action['code']:<10} {count:<6} {action['seconds']:7.1f}  {steps}")

    def print_misses(self) -> None:
        for miss in self.misses:
            print(f"MISSED: {miss}")


def receiver_config(lab: dict[str, Any], port: int) -> dict[str, Any]:
    """The receiver's configuration for the lab."""
    return {
        "listen": f"127.0.0.1:{port}",
        "tokens": [{"name": "alertmanager", "token_file": lab["receiver"]["token_file"], "groups": "*"}],
        "ledger": lab["ledger"],
        "inventory": str(INVENTORY),
        "scaling_groups_dir": lab["scaling_groups_dir"],
        "executor": {
            "type": "runner",
            "private_data_root": str(Path(lab["folder"]) / "runner"),
            "keep_successful_artifacts": True,
        },
    }


def as_action(event: dict[str, Any]) -> dict[str, Any]:
    """What summary.json says of one event of the ledger."""
    steps = [
        {"step": step["step"], "seconds": round(step["seconds"], 2), "state": step["state"]} for step in event["steps"]
    ]
    return {
        "name": event["action"],
        "direction": event["direction"],
        "code": event["code"],
        "result": event["result"],
        "source": event["source"],
        "reason": event["reason"],
        "members": event["members"],
        "count_before": event["count_before"],
        "count_after": event["count_after"],
        "started_at": event["started_at"],
        "ended_at": event["at"],
        "seconds": round(event["at"] - event["started_at"], 2),
        "steps": steps,
    }


def play(demo: Demo) -> int:
    """All of it; the exit status. Ended by SIGTERM it stops the lab too."""
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    try:
        demo.prepare()
        demo.loop()
        summary = demo.close()
        demo.table(summary)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        demo.down()
    return 1 if demo.misses else 0


if __name__ == "__main__":
    sys.exit(play(Demo()))
