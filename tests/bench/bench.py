# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clone times against a peer and the floor, and the overhead of a scale-out; printed, and written to build/bench.

Every figure is the wall time of a whole process (start of Ansible included), all in one run on one machine. Nothing
here passes or fails: machines are noisy, and only figures of one run compare.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.process import LabError
from lab.settings import REPO
from lab.supervisor import Lab

OUT = REPO / "build" / "bench"
HERE = Path(__file__).resolve().parent
INVENTORY = REPO / "inventories" / "lab" / "hosts.yml"
CLONE_S, BOOT_S = 10.0, 3.0
SIZES = (1, 5, 20)


class Bench:
    def __init__(self) -> None:
        self.environment = {**os.environ, "LAB_CLONE_S": str(CLONE_S), "LAB_BOOT_S": str(BOOT_S)}
        os.environ.update(self.environment)
        self.lab = Lab()
        self.run = 0
        self.rows: list[dict[str, Any]] = []

    def playbook(self, name: str, *arguments: str, log: str) -> float:
        """Seconds that `ansible-playbook` took; fails when the playbook fails."""
        command = ["ansible-playbook", name, "-i", str(INVENTORY), *arguments]
        began = time.monotonic()
        with (OUT / f"{log}.log").open("w") as file:
            result = subprocess.run(command, stdout=file, stderr=file, check=False, cwd=REPO, env=self.environment)
        seconds = time.monotonic() - began
        if result.returncode:
            raise LabError(f"{' '.join(command)} failed; see {OUT / f'{log}.log'}")
        return seconds

    def names(self, kind: str, count: int) -> list[dict[str, str]]:
        self.run += 1
        return [{"name": f"bench-{kind}-{self.run}-{number}"} for number in range(count)]

    def clones(self, count: int, peer: bool) -> None:
        """One row: ours, the peer's loop, the floor."""
        setting = f"{count} clones of {CLONE_S:g} s, powered on, no wait for the guest, wall time of the whole process"
        print(f"clones_{count}: ours", end="", flush=True)
        ours = self.clone_playbook("ours", count)
        print(f" {ours:.1f} s; floor", end="", flush=True)
        floor = self.floor(count)
        print(f" {floor:.1f} s; peer", end="", flush=True)
        peer_s = self.clone_playbook("peer", count) if peer else None
        print(" not measured" if peer_s is None else f" {peer_s:.1f} s", flush=True)
        self.rows.append(row(f"clones_{count}", setting, ours, peer_s, floor, ours / floor))

    def clone_playbook(self, kind: str, count: int) -> float:
        variables = json.dumps({"bench_vms": self.names(kind, count)})
        return self.playbook(str(HERE / f"clones_{kind}.yml"), "-e", variables, log=f"clones_{kind}_{count}")

    def floor(self, count: int) -> float:
        vcenter = self.description["vcenter"]
        arguments = {
            **{key: vcenter[key] for key in ("hostname", "port", "username", "ca_path")},
            "password": Path(vcenter["password_file"]).read_text(),
            "template": "web-template",
            "names": [vm["name"] for vm in self.names("floor", count)],
        }
        began = time.monotonic()
        subprocess.run([sys.executable, str(HERE / "floor.py")], input=json.dumps(arguments), text=True, check=True)
        return time.monotonic() - began

    def overhead(self, count: int) -> None:
        """Everything of a scale-out but the clone and the boot: wall time less the simulated times."""
        print(f"overhead_{count}: scale-out", end="", flush=True)
        group = ("-e", f"scaling_groups_dir={HERE / 'scaling_groups'}", "-e", "group=bench", "-e", f"count={count}")
        group += ("-e", "ignore_cooldown=true")
        seconds = self.playbook("onprem.autoscale.scale_out", *group, log=f"overhead_{count}")
        overhead = seconds - CLONE_S - BOOT_S
        print(f" {seconds:.1f} s, overhead {overhead:.1f} s; scale-in", end="", flush=True)
        back = self.playbook("onprem.autoscale.scale_in", *group, log=f"scale_in_{count}")
        print(f" {back:.1f} s", flush=True)
        first = next((r["ours_s"] for r in self.rows if r["name"] == "overhead_1"), overhead)
        setting = f"scale-out of {count}: wall time less {CLONE_S:g} s clone and {BOOT_S:g} s boot; ratio to overhead_1"
        self.rows.append(row(f"overhead_{count}", setting, overhead, None, None, overhead / first))

    def all(self, peer_20: bool) -> None:
        OUT.mkdir(parents=True, exist_ok=True)
        self.lab.down(quiet=True)
        self.description: dict[str, Any] = self.lab.up()
        try:
            group = ("-e", f"scaling_groups_dir={HERE / 'scaling_groups'}", "-e", "group=bench")
            self.playbook("onprem.autoscale.configure", *group, log="configure")
            for count in SIZES:
                self.overhead(count)
            for count in SIZES:
                self.clones(count, peer=count < 20 or peer_20)
        finally:
            self.lab.down(quiet=True)
        self.rows.sort(key=lambda r: (r["name"].split("_")[0], int(r["name"].split("_")[1])))
        (OUT / "results.json").write_text(json.dumps(self.rows, indent=2) + "\n")

    def table(self) -> None:
        print(f"\n{'name':<12} {'ours_s':>8} {'peer_s':>8} {'floor_s':>8} {'ratio':>6}  setting")
        for line in self.rows:
            cells = "".join(
                f" {'-' if line[key] is None else format(line[key], '.2f'):>8}"
                for key in ("ours_s", "peer_s", "floor_s")
            )
            print(f"{line['name']:<12}{cells} {line['ratio']:>6.2f}  {line['setting']}")
        by_name = {line["name"]: line for line in self.rows}
        one, twenty = by_name["clones_1"], by_name["clones_20"]
        print(
            f"\n20 clones took {twenty['ours_s'] / one['ours_s']:.2f} times one (target 1.5)"
            f" and {twenty['ratio']:.2f} times the floor (target 1.3)."
            f"\nOverhead of one VM {by_name['overhead_1']['ours_s']:.1f} s (target 12),"
            f" of twenty {by_name['overhead_20']['ratio']:.2f} times that (target 1.5)."
            f"\n{(OUT / 'results.json').relative_to(REPO)}"
        )


def row(name: str, setting: str, ours: float, peer: float | None, floor: float | None, ratio: float) -> dict[str, Any]:
    """One row of results.json; seconds, None for what was not measured."""

    def cut(value: float | None) -> float | None:
        return None if value is None else round(value, 2)

    return {
        "name": name, "setting": setting, "ours_s": cut(ours), "peer_s": cut(peer), "floor_s": cut(floor),
        "ratio": round(ratio, 3),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer-20", action="store_true", help="measure the peer with 20 clones too (about five minutes)"
    )
    bench = Bench()
    try:
        bench.all(parser.parse_args().peer_20)
    except LabError as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1
    bench.table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
