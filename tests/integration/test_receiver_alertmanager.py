# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Alertmanager delivers to a real receiver (T1, T4)."""

from __future__ import annotations

import datetime
import socket
import sqlite3
import subprocess
import typing as t
from pathlib import Path

import pytest
import requests
import yaml
from integration.receiver_kit import ReceiverKit, until

from lab.debs import binary


def program() -> list[str]:
    """The command that starts it. Debian's build wants its templates under /usr: where it is only unpacked, they are
    put there for this one process, in a mount namespace of its own.
    """
    path = binary("alertmanager")
    home, share = Path("/usr/share/prometheus/alertmanager"), path.parents[1] / "share" / "prometheus" / "alertmanager"
    if not share.is_dir() or (home / "default.tmpl").exists():
        return [str(path)]
    script = f'mount -t tmpfs none /usr/share && mkdir -p {home.parent} && ln -s {share} {home} && exec "$0" "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(path)]


class Alertmanager:
    """One process with the settings that docs/receiver.md recommends, only faster."""

    def __init__(self, folder: Path, receiver: ReceiverKit) -> None:
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        webhook = {
            "url": f"{receiver.url}/alerts",
            "send_resolved": True,
            "max_alerts": 0,
            "http_config": {"authorization": {"credentials_file": str(receiver.token_file)}},
        }
        route = {
            "receiver": "autoscale",
            "group_by": ["group", "action"],
            "group_wait": "0s",
            "group_interval": "10s",
            "repeat_interval": "1h",
        }
        config = {"route": route, "receivers": [{"name": "autoscale", "webhook_configs": [webhook]}]}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                *program(),
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        until(self._is_ready, "Alertmanager", 20)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=2).ok
        except requests.ConnectionError:
            return False

    def fire(self, group: str, *, ends: bool = False, **labels: str) -> None:
        """Raise an alert as Prometheus does, or end it."""
        now = datetime.datetime.now(datetime.timezone.utc)
        entry: dict[str, t.Any] = {"labels": {"alertname": "CpuHigh", "group": group, "action": "scale_out", **labels}}
        if ends:
            entry["endsAt"] = now.isoformat()
        requests.post(f"http://127.0.0.1:{self.port}/api/v2/alerts", json=[entry], timeout=5).raise_for_status()

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


@pytest.fixture
def both(tmp_path: Path) -> t.Iterator[tuple[ReceiverKit, Alertmanager]]:
    """A receiver whose plays hang, and an Alertmanager that knows it."""
    kit = ReceiverKit(tmp_path)
    kit.control(web={"seconds": 60}, api={"seconds": 60})
    alertmanager = None
    try:
        kit.start()
        alertmanager = Alertmanager(tmp_path / "alertmanager", kit)
        yield kit, alertmanager
    finally:
        if alertmanager:
            alertmanager.close()
        kit.close()


def test_alertmanager_delivers_once_and_its_resolved_is_stored(both: tuple[ReceiverKit, Alertmanager]) -> None:
    """T1: the body of a real Alertmanager passes the schema and the Bearer check; one row, one action."""
    kit, alertmanager = both
    alertmanager.fire("web")
    alertmanager.fire("web")
    until(kit.runs, "the run")
    assert [(row["status"], row["seen"]) for row in kit.rows("select status, seen from inbox")] == [("firing", 1)]
    alertmanager.fire("web", ends=True)
    until(lambda: len(kit.rows("select * from inbox")) == 2, "the resolved delivery")
    firing, resolved = kit.rows("select * from inbox order by received_at")
    assert resolved["status"] == "resolved"
    assert firing["key"].rpartition("|")[0] == resolved["key"].rpartition("|")[0]
    assert firing["starts_at"] == pytest.approx(firing["received_at"], abs=10)
    kit.go()
    until(kit.idle, "the end")
    assert kit.runs() == ["web-1"]


def test_alertmanager_tries_again_after_a_503(both: tuple[ReceiverKit, Alertmanager]) -> None:
    """T1, T4: what could not be stored is not lost."""
    kit, alertmanager = both
    with sqlite3.connect(kit.folder / "ledger.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        alertmanager.fire("api")
        until(lambda: kit.metric('onprem_autoscale_receiver_requests_total{code="503"}'), "a refusal")
        holder.execute("ROLLBACK")
    holder.close()
    until(lambda: kit.runs("begin", "api"), "the run")
    assert len(kit.rows("select * from inbox")) == 1
    assert kit.runs() == ["api-1"]
