# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device as a process of its own on free ports, for tests that drive it through blocking clients."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..emulated import call, new_password, python_path
from ..kit import wait_for
from ..tls import make_tls

START_TIMEOUT_S = 20


@dataclasses.dataclass(frozen=True)
class Spawned:
    """A running device: where it is and how to log in."""

    hostname: str
    port: int
    control: str
    username: str
    password: str
    ca: Path
    log: Path
    virtuals: Mapping[str, tuple[str, int]]
    dns: tuple[str, int] | None
    process: subprocess.Popen[bytes] = dataclasses.field(repr=False)

    def stop(self) -> None:
        """End it."""
        end(self.process)

    def call(self, method: str, path: str, body: Any = None, timeout: float = 10) -> Any:
        """A call to the control port; the JSON of the answer."""
        return call(self.control, method, path, body, timeout)

    def state(self) -> dict[str, Any]:
        return self.call("GET", "/state")

    def members(self, pool: str = "/Common/web-pool") -> dict[str, dict[str, Any]]:
        """Members of a pool by name without the partition."""
        rows = next(row["members"] for row in self.state()["pools"] if row["name"] == pool)
        return {row["name"].rpartition("/")[2]: row for row in rows}


def start(
    folder: Path,
    config: Mapping[str, Any],
    *arguments: str,
    listen_port: int = 0,
    control_port: int = 0,
    monitor_scale: float = 0.1,
    password: str = "",
) -> Spawned:
    """Start a device in *folder*; whoever starts it stops it. Ports are free ones where none are given.

    :param arguments: further ones of ``python -m lab.bigip``.
    :param password: of the user admin; a random one without it.
    :raises RuntimeError: with the log's end when it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tls = make_tls(folder / "tls")
    password = password or new_password()
    (folder / "password").write_text(password)
    (folder / "config.json").write_text(json.dumps(config))
    ready, log = folder / "ready.json", folder / "log"
    ready.unlink(missing_ok=True)
    command: Sequence[str] = (
        *(sys.executable, "-m", "lab.bigip", "--listen", f"127.0.0.1:{listen_port}"),
        *("--control", f"127.0.0.1:{control_port}", "--cert", str(tls["cert"]), "--key", str(tls["key"])),
        *("--password-file", str(folder / "password"), "--config", str(folder / "config.json")),
        *("--ready-file", str(ready), "--monitor-scale", str(monitor_scale), *arguments),
    )
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **python_path()})
    try:
        wait_for(lambda: ready.exists() or process.poll() is not None, START_TIMEOUT_S, "the device's start")
        found = json.loads(ready.read_text())
    except (AssertionError, OSError) as error:
        end(process)
        raise RuntimeError(f"the device did not start: {log.read_text()[-2000:]}") from error
    virtuals = {name: tuple(address) for name, address in found.pop("virtuals").items() if address}
    dns = found.pop("dns")
    return Spawned(
        **found,
        dns=tuple(dns) if dns else None,
        username="admin",
        password=password,
        ca=tls["ca"],
        log=log,
        virtuals=virtuals,
        process=process,
    )


@contextlib.contextmanager
def spawn(folder: Path, config: Mapping[str, Any], *arguments: str, **how: Any) -> Iterator[Spawned]:
    """:func:`start` a device, and stop it at the end of the block."""
    device = start(folder, config, *arguments, **how)
    try:
        yield device
    finally:
        device.stop()


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL where that does not help."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
