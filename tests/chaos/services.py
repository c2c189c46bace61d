# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the receiver, of the dispatcher (one process with it) and of Alertmanager, while a real alert fires.

A lasting alert is posted to a real Alertmanager again and again, as Prometheus does; its webhook is the real receiver,
which runs the real scale_out. The group's cooldown is longer than the test: one action is allowed, whatever dies.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from lab.process import Part, answers

from .callback.kill_at import kill_run
from .receiver_child import POINTS
from .site_kit import GROUP, INVENTORY, Site, until

PATIENCE_S = 240  # for what takes seconds: the machine may be busy
RECEIVER_POINTS = ("before-store", "after-store")
# On top of the site's own.
SPEC = {
    "cooldown": {"out": 900, "in": 900},
    "monitoring": {"group_interval": 2, "repeat_interval": 60},
}
# part, point, and whether the plays that run die as well, as in a crash of the machine.
SCENARIOS: tuple[tuple[str, str, bool], ...] = (
    *(("receiver", point, False) for point in RECEIVER_POINTS),
    ("receiver", "play-runs", False),
    ("receiver", "play-runs", True),
    *(("dispatcher", point, False) for point in POINTS if point not in RECEIVER_POINTS),
    ("alertmanager", "alert-posted", False),
    ("alertmanager", "play-runs", False),
    ("alertmanager", "action-ended", False),
)


class Alarm(threading.Thread):
    """Posts one firing alert every second, as Prometheus does while its expression holds."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.url = f"{site.lab['alertmanager']['url']}/api/v2/alerts"
        self.began = datetime.datetime.now(datetime.timezone.utc)
        self.over = threading.Event()
        self.posted = 0

    def run(self) -> None:
        labels = {"alertname": "AutoscaleScaleOut", "group": GROUP, "action": "scale_out", "onprem_autoscale": "true"}
        while not self.over.wait(0 if not self.posted else 1):
            ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=4)
            alert = {"labels": labels, "startsAt": self.began.isoformat(), "endsAt": ends.isoformat()}
            request = urllib.request.Request(self.url, data=json.dumps([alert]).encode(), method="POST")
            request.add_header("Content-Type", "application/json")
            try:
                with urllib.request.urlopen(request, timeout=5):
                    self.posted += 1
            except OSError:
                self.over.wait(0.2)  # it was killed, or starts again


class Services:
    """The receiver and Alertmanager of a lab, and how each is killed and started again, as its service unit would.

    :param label: names the files of this kill.
    """

    def __init__(self, site: Site, label: str) -> None:
        self.site = site
        self.mark = site.out / f"{label}.killed"
        self.run = f"{site.settings.index}-{label}"
        self.part = Part("receiver", site.settings.run, site.settings.logs)
        self.alarm = Alarm(site)

    def start_receiver(self, point: str = "") -> None:
        """Start it, to be killed at *point*, if any."""
        settings = self.site.settings
        config = settings.folder / "receiver.yml"
        config.write_text(yaml.safe_dump(receiver_config(self.site.lab, settings.receiver_port), sort_keys=False))
        environment = {
            **settings.environment,
            "CHAOS_RUN": self.run,
            "CHAOS_MARK": str(self.mark),
            "CHAOS_POINT": point,
        }
        command = [sys.executable, "-m", "chaos.receiver_child", "--config", str(config)]
        self.part.start(command, environment)
        self.part.wait_ready(lambda: answers(f"http://{settings.host}:{settings.receiver_port}/metrics"), PATIENCE_S)

    def kill(self, part: str, everything: bool) -> None:
        """SIGKILL to a part, and start it again."""
        if part == "alertmanager":
            self.restart_alertmanager()
            return
        if everything:
            kill_run(self.run)
        else:
            kill_part(self.part)
        self.start_receiver()

    def restart_alertmanager(self) -> None:
        """SIGKILL, and start it again with its data and its configuration."""
        part = self.site.runner.part("alertmanager")
        command = Path(f"/proc/{part.pid()}/cmdline").read_bytes().decode().split("\0")[:-1]
        kill_part(part)
        part.start(command)
        part.wait_ready(lambda: answers(f"{self.site.lab['alertmanager']['url']}/-/ready"))

    def close(self) -> None:
        """Stop alarm, receiver and plays."""
        self.alarm.over.set()
        self.part.stop()
        kill_run(self.run)

    # ---- what happens ------------------------------------------------------------------------------------------------
    def scenario(self, part: str, point: str, everything: bool) -> None:
        """Let the alert fire, kill *part* at *point*, and wait until the action has ended and all is quiet."""
        self.mark.unlink(missing_ok=True)
        armed = point if point in POINTS else ""
        self.start_receiver(armed)
        self.alarm.start()
        if armed:
            until(lambda: self.mark.exists() and self.part.pid() is None, f"the kill at {point}", PATIENCE_S)
            self.start_receiver()
        else:
            look = {"alert-posted": lambda: self.alarm.posted, "play-runs": self.site.made, "action-ended": self.ended}
            until(look[point], point, PATIENCE_S)
            self.kill(part, everything)
        until(self.ended, "the end of the action", PATIENCE_S)
        seen = self.deliveries()
        if part == "alertmanager" and point == "action-ended":
            until(lambda: self.deliveries() > seen, "a delivery after the restart", PATIENCE_S)
        until(self.idle, "quiet", PATIENCE_S)

    def ended(self) -> bool:
        """Whether a scale-out has succeeded."""
        return bool(self.site.rows("select id from events where kind = 'scale_out' and result = 'succeeded'"))

    def deliveries(self) -> int:
        return sum(row["seen"] for row in self.site.rows("select seen from inbox"))

    def idle(self) -> bool:
        """No action is claimed, runs or holds the lock."""
        return not (
            self.site.rows("select ident from actions where state = 'running'")
            or self.site.rows("select group_name from work where running is not null")
            or self.site.rows("select group_name from locks")
        )


def kill_part(part: Part) -> None:
    """SIGKILL to the main process of a part, and wait until it is gone."""
    pid = part.pid()
    if pid is None:
        raise RuntimeError(f"{part.name} was to be killed, and does not run:\n{part.tail()}")
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(part), f"the death of {part.name}", 10)


def gone(part: Part) -> bool:
    return part.pid() is None


def receiver_config(lab: dict[str, Any], port: int) -> dict[str, Any]:
    """The receiver's configuration for a lab; the lock of a dead play runs out soon."""
    return {
        "listen": f"127.0.0.1:{port}",
        "tokens": [{"name": "alertmanager", "token_file": lab["receiver"]["token_file"], "groups": "*"}],
        "ledger": lab["ledger"],
        "inventory": str(INVENTORY),
        "scaling_groups_dir": lab["scaling_groups_dir"],
        "reconcile_period": 0,  # the one reconcile is the test's own
        "executor": {
            "type": "runner",
            "private_data_root": str(Path(lab["folder"]) / "runner"),
            "extra_vars": {"lock_ttl": 5},
            "failure_pause": 1,
            "failure_pause_max": 2,
            "keep_successful_artifacts": True,
        },
    }
