# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PAIS as a process of its own: ``with Pais.temporary() as pais: pais.row["url"]``."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
import types
import urllib.request
from pathlib import Path
from typing import Any

from ..kit import free_port
from ..process import Part
from ..tls import make_tls
from .emulator import REALM

TESTS = Path(__file__).resolve().parents[2]


class Pais:
    """One PAIS below *folder*; users, address and objects stay over ``down`` and ``up``.

    :param port: of the API; a free one, kept from then on, where none is given.
    """

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", port: int = 0, control_port: int = 0) -> None:
        self.folder = folder
        self._wanted = {"host": host, "port": port, "control_port": control_port}
        self._part = Part("pais", folder, folder)
        self._temporary = False

    @classmethod
    def temporary(cls) -> Pais:
        """One in a folder of its own, which goes with it."""
        made = cls(Path(tempfile.mkdtemp(prefix="onprem-autoscale-pais-")))
        made._temporary = True
        return made

    def __enter__(self) -> Pais:
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
            self._part.start([sys.executable, "-m", "lab.pais.emulator", str(self.folder)], {"PYTHONPATH": path})
            self._part.wait_ready((self.folder / "ready.json").exists, 60)
        return self.row

    def down(self) -> None:
        """Stop it; what it holds stays."""
        self._part.stop()
        (self.folder / "ready.json").unlink(missing_ok=True)

    def running(self) -> bool:
        return self._part.pid() is not None and (self.folder / "ready.json").exists()

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in: the options of the modules, ``ca`` and ``control``."""
        config = json.loads((self.folder / "config.json").read_text())
        url = f"https://{config['host']}:{config['port']}"
        (username, password), *_others = config["users"].items()
        return {
            "url": url,
            "issuer": url + REALM,
            "client_id": config["client_id"],
            "client_secret": config["client_secret"],
            "username": username,
            "password": password,
            "ca": str(self.folder / "tls" / "ca.pem"),
            "control": f"http://{config['host']}:{config['control_port']}",
        }

    def call(self, method: str, path: str) -> Any:
        """A call to the control port; the JSON of the answer."""
        request = urllib.request.Request(self.row["control"] + path, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """What it holds, by name, with the secrets."""
        return {row["name"]: row for row in self.call("GET", "/objects")[kind]}

    def log(self) -> str:
        return self._part.log.read_text(errors="replace")

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "config.json"
        config: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        config.setdefault("client_id", "autoscale")
        config.setdefault("client_secret", secrets.token_urlsafe(16))
        config.setdefault("users", {"operator": secrets.token_urlsafe(16)})
        config.setdefault("lifetime", 300)
        config["host"] = self._wanted["host"]
        for key in ("port", "control_port"):
            config[key] = self._wanted[key] or config.get(key) or free_port(config["host"])
        file.touch(0o600)
        file.write_text(json.dumps(config))
        make_tls(self.folder / "tls", ("localhost", "127.0.0.1", "::1", *{config["host"]} - {"127.0.0.1"}))
