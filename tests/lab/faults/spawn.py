# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault proxy as a part of a lab: started, given rules, asked what it saw, stopped."""

from __future__ import annotations

import copy
import json
import sys
import urllib.error
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..emulated import call, python_path
from ..process import Part


class FaultProxy:
    """A running proxy. Use it as a context manager, or :meth:`start` and :meth:`stop`.

    :param folder: for its configuration, log and record.
    :param listeners: rows of ``proxy.Listening``; ``listen`` defaults to a free port.
    :param tls: what ``lab.tls.make_tls`` returned; needed for https.
    """

    def __init__(
        self,
        folder: Path,
        listeners: Sequence[Mapping[str, Any]],
        tls: Mapping[str, Path] | None = None,
        control: str = "127.0.0.1:0",
    ) -> None:
        self.folder = folder
        self.part = Part("faults", folder / "run", folder / "logs")
        self._ready = folder / "faults-ready.json"
        self._config = {
            "control": control,
            "listeners": [{"listen": "127.0.0.1:0", **row} for row in listeners],
            "ready_file": str(self._ready),
            **({"cert": str(tls["cert"]), "key": str(tls["key"]), "ca": str(tls["ca"])} if tls else {}),
        }
        self.control = ""
        self.ports: dict[str, int] = {}

    def __enter__(self) -> FaultProxy:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> FaultProxy:
        """Start it and learn its ports. :raises LabError: with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ready.unlink(missing_ok=True)
        config = self.folder / "faults.json"
        config.write_text(json.dumps(self._config, indent=2))
        self.part.start([sys.executable, "-m", "lab.faults", "--config", str(config)], environment=python_path())
        self.part.wait_ready(self._ready.exists)
        found = json.loads(self._ready.read_text())
        self.control, self.ports = found["control"], found["ports"]
        return self

    def stop(self) -> None:
        self.part.stop()

    # ---- control ----------------------------------------------------------------------------------------------------
    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A call to the control port. :raises ValueError: it refused, with its reason."""
        try:
            return call(self.control, method, path, body)
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from error

    def fault(self, listener: str, fault: str, call: str = "*", **rest: Any) -> dict[str, Any]:
        """Add a rule; ``rest`` are times, skip, seconds, status, body, after_bytes."""
        return self.call("POST", "/rules", {"listener": listener, "fault": fault, "match": {"call": call}, **rest})

    def clear(self) -> None:
        """Take all rules away."""
        self.call("DELETE", "/rules")

    def rules(self) -> list[dict[str, Any]]:
        return self.call("GET", "/rules")["rules"]

    def calls(self) -> list[dict[str, Any]]:
        """What was seen: ``{listener, call, fault, status, read, count, first_at}``."""
        return self.call("GET", "/calls")["calls"]

    def forget_calls(self) -> None:
        self.call("DELETE", "/calls")


def before(
    lab: Mapping[str, Any], folder: Path, tls: Mapping[str, Path], more: Sequence[Mapping[str, Any]] = ()
) -> FaultProxy:
    """A proxy (not started) before every backend of a lab.

    :param lab: what lab.json says.
    :param tls: of the lab, so that whoever trusts the lab trusts the proxy.
    :param more: further listeners.
    """
    vcenter, bigip = lab["vcenter"], lab["bigip"]
    rows = [
        {"name": "vcenter", "mode": "https", "upstream": f"{vcenter['hostname']}:{vcenter['port']}", "labels": "soap"},
        {"name": "bigip", "mode": "https", "upstream": f"{bigip['hostname']}:{bigip['port']}", "labels": "icontrol"},
        *(
            {"name": name, "mode": "http", "upstream": urlsplit(lab[name]["url"]).netloc}
            for name in ("prometheus", "alertmanager")
        ),
        *more,
    ]
    return FaultProxy(folder, rows, tls)


def through(lab: Mapping[str, Any], proxy: FaultProxy) -> dict[str, Any]:
    """What lab.json has to say so that playbooks go through a running proxy. Control ports and files stay."""
    changed = copy.deepcopy(dict(lab))
    for name in ("vcenter", "bigip"):
        changed[name].update(hostname="127.0.0.1", port=proxy.ports[name])
    for name in ("prometheus", "alertmanager"):
        changed[name]["url"] = f"http://127.0.0.1:{proxy.ports[name]}"
    changed["faults"] = {"control": proxy.control}
    return changed
