# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Harbor as a process of its own: ``with Harbor.temporary() as harbor: harbor.row["url"]``."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import types
import urllib.request
from pathlib import Path
from typing import Any

from ..kit import free_port
from ..process import LabError, Part
from ..tls import make_tls

TESTS = Path(__file__).resolve().parents[2]
ROBOT = "robot$replication"


class Harbor:
    """One Harbor below *folder*; users, address and artifacts stay over ``down`` and ``up``.

    :param port: of the API and the registry; a free one, kept from then on, where none is given.
    :param control_port: the same.
    """

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", port: int = 0, control_port: int = 0) -> None:
        self.folder = folder
        self._wanted = {"host": host, "port": port, "control_port": control_port}
        self._part = Part("harbor", folder, folder)
        self._temporary = False

    @classmethod
    def temporary(cls) -> Harbor:
        """One in a folder of its own, which goes with it."""
        made = cls(Path(tempfile.mkdtemp(prefix="onprem-autoscale-harbor-")))
        made._temporary = True
        return made

    def __enter__(self) -> Harbor:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.down()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def up(self) -> dict[str, Any]:
        """Start it, wait until it serves; the row. One that runs is left alone."""
        if not self.running():
            self.down()
            self._configure()
            path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
            self._part.start([sys.executable, "-m", "lab.harbor.emulator", str(self.folder)], {"PYTHONPATH": path})
            self._part.wait_ready((self.folder / "ready.json").exists, 60)
        return self.row

    def down(self) -> None:
        """Stop it; what it holds stays."""
        self._part.stop()
        (self.folder / "ready.json").unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9."""
        pid = self._part.pid()
        if pid is None:
            raise LabError(f"no Harbor runs in {self.folder}")
        os.kill(pid, signal.SIGKILL)
        if not self._part.wait_gone(10):
            raise LabError(f"the Harbor in {self.folder} survives kill -9")

    def running(self) -> bool:
        return self._part.pid() is not None and (self.folder / "ready.json").exists()

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in; ``robot`` may push and pull, and administers nothing."""
        config = json.loads((self.folder / "config.json").read_text())
        return {
            "url": f"https://{config['host']}:{config['port']}",
            "ca": str(self.folder / "tls" / "ca.pem"),
            "username": "admin",
            "password": config["users"]["admin"]["password"],
            "robot": {"username": ROBOT, "password": config["users"][ROBOT]["password"]},
            "control": f"http://{config['host']}:{config['control_port']}",
        }

    def call(self, method: str, path: str, body: Any = None, timeout: float = 30) -> Any:
        """A call to the control port; the JSON of the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.row["control"] + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.loads(response.read())

    def seed(self, repository: str, tag: str, content: str = "", **more: Any) -> str:
        """Put a model there; its digest."""
        return self.call("POST", "/artifacts", {"repository": repository, "tag": tag, "content": content, **more})[
            "digest"
        ]

    def artifacts(self) -> set[tuple[str, str, str]]:
        """(repository, tag, digest) of all that it holds."""
        return {(row["repository"], row["tag"], row["digest"]) for row in self.call("GET", "/artifacts")}

    def log(self) -> str:
        return self._part.log.read_text(errors="replace")

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "config.json"
        config: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        config.setdefault("users", {
            "admin": {"password": secrets.token_urlsafe(16), "admin": True},
            ROBOT: {"password": secrets.token_urlsafe(16), "admin": False},
        })  # fmt: skip
        config["host"] = self._wanted["host"]
        for key in ("port", "control_port"):
            config[key] = self._wanted[key] or config.get(key) or free_port(config["host"])
        file.touch(0o600)
        file.write_text(json.dumps(config))
        make_tls(self.folder / "tls", ("localhost", "127.0.0.1", "::1", *{config["host"]} - {"127.0.0.1"}))
