# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo with model endpoints: a queue of requests adds one, its end takes it away, and no stream is cut (B2 to B5).

Run by `make demo-vllm`, in a lab of its own beside that of `make demo`. Writes build/vllm/summary.json and report.html;
any miss is a non-zero exit.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e import report
from e2e.demo import Demo, play
from e2e.observer import Observer

from ansible_collections.onprem.autoscale.plugins.filter.cold_start_lines import cold_start_lines
from lab.settings import MODEL_NAME, REPO, Settings

CALM, BUSY = 1, 8  # streams at a time; an endpoint answers 3
WAITING = 'sum(vllm:num_requests_waiting{group="model"})'
RUNNING = 'sum(vllm:num_requests_running{group="model"})'


class ModelObserver(Observer):
    """Samples queue and running requests in place of the CPU."""

    def sample(self) -> dict[str, Any]:
        load = self.load()
        return {
            "at": time.time(),
            "rate": load["rate"],
            "failed": load["failed"],
            "waiting": self.prometheus(WAITING),
            "running": self.prometheus(RUNNING),
            "vms": len(self.vms()),
            "in_service": sum(1 for member in self.member_rows() if member.get("availability") == "available"),
        }


class ModelDemo(Demo):
    """1 -> 2 by the queue, 2 -> 1 when it is gone."""

    out = REPO / "build" / "vllm"
    group = "model"
    limit_s = 240.0

    def __init__(self) -> None:
        super().__init__(Settings.numbered(1, models=True, clone_s=2.0, boot_s=1.0))

    @property
    def base_members(self) -> Mapping[str, str]:
        return self.lab.settings.model_base

    def connect(self, description: dict[str, Any]) -> dict[str, Any]:
        """A folder with this group alone, in a description that ``LAB_JSON`` names."""
        groups = self.out / "scaling_groups"
        groups.mkdir()
        (groups / "model.yml").write_text(yaml.safe_dump(self.lab.settings.model_spec(), sort_keys=False))
        changed = {**description, "scaling_groups_dir": str(groups)}
        path = self.out / "lab.json"
        path.write_text(json.dumps(changed, indent=2) + "\n")
        os.environ.update(self.lab.settings.environment, LAB_JSON=str(path))
        return changed

    def start_load(self) -> None:
        self.set_clients(CALM)
        key = Path(self.description["model"]["key_file"]).read_text()
        url = f"http://{self.description['model']['vip']}"
        self.run_load("lab.streams", "--url", url, "--model", MODEL_NAME, VLLM_API_KEY=key)

    def set_clients(self, count: int) -> None:
        self.rate_file.write_text(str(count))
        self.say(f"load: {count} streams at a time")

    def watch(self) -> Observer:
        return ModelObserver(self.description, self.stats, self.group)

    def now(self) -> str:
        sample = self.observer.samples[-1] if self.observer.samples else {}
        return (
            f"{sample.get('rate', 0):g} clients, {sample.get('running') or 0:g} running, {sample.get('waiting') or 0:g}"
            f" waiting, {sample.get('vms')} VMs, {sample.get('in_service')} in service"
        )

    # ---- the loop ----------------------------------------------------------------------------------------------------
    def loop(self) -> None:
        self.playbook("configure")
        self.start_receiver()
        self.set_clients(BUSY)
        if self.wait_for("1 -> 2 by the queue", lambda: self.did("out")):
            time.sleep(4)  # both serve what waits
            self.set_clients(CALM)
            self.wait_for("2 -> 1, the queue is gone", lambda: self.did("in"))
        time.sleep(2)

    def did(self, direction: str) -> bool:
        """Whether an action of this direction has succeeded."""
        return any(row["direction"] == direction and row["result"] == "succeeded" for row in self.observer.events())

    # ---- the end -----------------------------------------------------------------------------------------------------
    def setting(self) -> dict[str, Any]:
        settings = self.lab.settings
        times = {"clone_s": settings.clone_s, "boot_s": settings.boot_s, "load_s": settings.model_load_s}
        return {"min": 1, "max": 2, "calm": CALM, "busy": BUSY, "seqs": settings.model_seqs, **times}

    def judge(self, summary: dict[str, Any]) -> None:
        """The course of actions, and the record of the cold start."""
        done = [
            (row["direction"], row["count_before"], row["count_after"], row["source"])
            for row in summary["actions"]
            if row["result"] == "succeeded"
        ]
        for wanted in (("out", 1, 2, "alert"), ("in", 2, 1, "alert")):
            if wanted not in done:
                self.misses.append(f"no action {wanted} succeeded; they were {done}")
        summary["misses"] = self.misses
        summary["streams_total"] = summary.pop("requests_total")
        summary["streams_cut"] = summary.pop("requests_failed")
        summary["cold_start"] = [row for event in self.observer.events() for row in event["cold_start"]]
        stages = {row["stage"] for row in summary["cold_start"]}
        missing = {"clone", "load", "engine", "gate", "warmup", "join"} - stages
        if missing:
            self.misses.append(f"the record of the cold start has no {', '.join(sorted(missing))}")

    def write_report(self, summary: dict[str, Any]) -> None:
        report.write_models(self.out / "report.html", summary, self.observer.samples)

    def table(self, summary: dict[str, Any]) -> None:
        self.table_of_actions(summary)
        print("\n" + "\n".join(cold_start_lines(summary["cold_start"])))
        print(
            f"\nstreams {summary['streams_total']}, cut {summary['streams_cut']}; leaked {summary['leaked']};"
            f" {summary['seconds']:.0f} s\nbuild/vllm/report.html, build/vllm/summary.json"
        )
        self.print_misses()


if __name__ == "__main__":
    sys.exit(play(ModelDemo()))
