# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DSM as a process of its own: ``with Dsm.temporary() as dsm: dsm.row["url"]``."""

from __future__ import annotations

import contextlib
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
from ..process import LabError, Part, start_time
from ..tls import make_tls
from .kubeapi import KubeApi, write_secret
from .seed import NAMESPACE
from .store import make_store
from .tokens import DSM_ADMIN, DSM_USER, INFRA_ADMIN

TESTS = Path(__file__).resolve().parents[2]
TOKEN_LIFETIME_S = 12 * 3600
START_TIMEOUT_S = 120
_PREFIX = "onprem-autoscale-dsm-"


class Dsm:
    """One DSM with all that it runs, below *folder*; users, address and databases stay over ``down`` and ``up``.

    :param name: distinguishes sites; part of the users' addresses.
    :param controller: ``True`` = real PostgreSQL, ``"fake"`` = every cluster is Ready at once, ``False`` = none.
    """

    def __init__(self, folder: Path, *, name: str = "dsm", controller: bool | str = True) -> None:
        self.folder = folder
        self.name = name
        self.controller = controller
        self._part = Part("emulator", folder, folder)
        self._temporary = False

    @classmethod
    def temporary(cls, *, name: str = "dsm", controller: bool | str = True) -> Dsm:
        """One in a folder of its own, which goes with it. Those of tests that were killed are removed first."""
        _remove_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        folder.chmod(0o711)  # PostgreSQL passes through, as another user
        (folder / "maker.json").write_text(json.dumps({"pid": os.getpid(), "start_time": start_time(os.getpid())}))
        made = cls(folder, name=name, controller=controller)
        made._temporary = True
        return made

    def __enter__(self) -> Dsm:
        try:
            self.up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.down()
        if self._temporary:
            self.remove()

    # -- up and down ---------------------------------------------------------------------------------------------------

    def up(self) -> dict[str, Any]:
        """Start it, wait until it serves; the row. One that runs is left alone."""
        if not self.running():
            self.down()  # what a killed one left
            self._configure()
            path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
            self._part.start([sys.executable, "-m", "lab.dsm.emulator", str(self.folder)], {"PYTHONPATH": path})
            self._part.wait_ready((self.folder / "ready.json").exists, START_TIMEOUT_S)
        return self.row

    def down(self) -> None:
        """Stop it and all that it started, what outlived its kill too. The data stay."""
        self._part.stop(timeout=40)
        KubeApi(self.folder / "kubeapi").stop()
        if (self.folder / "store.json").exists():
            make_store(self.folder).stop_all()
        (self.folder / "ready.json").unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9 of the emulator alone: gateway, webhooks and controller; the API server and PostgreSQL go on."""
        pid = self._part.pid()
        if pid is None:
            raise LabError(f"no DSM runs in {self.folder}")
        os.kill(pid, signal.SIGKILL)
        if not self._part.wait_gone(10):
            raise LabError(f"the emulator in {self.folder} survives kill -9")

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.down()
        if (self.folder / "store.json").exists():
            make_store(self.folder).remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def running(self) -> bool:
        return self._part.pid() is not None and (self.folder / "ready.json").exists()

    # -- what a client needs -------------------------------------------------------------------------------------------

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in."""
        config = json.loads((self.folder / "config.json").read_text())
        ready = json.loads((self.folder / "ready.json").read_text())
        users = {key: {"email": user["email"], "password": user["password"]} for key, user in config["users"].items()}
        return {
            "url": ready["url"],
            "ca": str(self.folder / "tls" / "ca.pem"),
            "namespace": NAMESPACE,
            "users": users,
            "kubeconfig": str(self.folder / "kubeconfig"),
            "control": ready["control"],
        }

    def call(self, method: str, path: str, body: Any = None, timeout: float = 60) -> Any:
        """A call to the lab's control port; the JSON of the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.row["control"] + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.loads(response.read())

    def log(self) -> str:
        """What the emulator has written."""
        return self._part.log.read_text(errors="replace")

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "config.json"
        config = json.loads(file.read_text()) if file.exists() else self._first_config()
        write_secret(file, json.dumps({**config, "controller": self.controller}))
        make_tls(self.folder / "tls")

    def _first_config(self) -> dict[str, Any]:
        users = {
            key: {
                "email": f"{key}@{self.name}.example.com",
                "role": role,
                "password": secrets.token_urlsafe(16),
                "login": "vsphere" if role == INFRA_ADMIN else "dsm",
            }
            for key, role in (("admin", DSM_ADMIN), ("user", DSM_USER), ("infra", INFRA_ADMIN))
        }
        return {"users": users, "port": free_port(), "token_lifetime": TOKEN_LIFETIME_S}


def _remove_abandoned() -> None:
    """A test run that was killed leaves its DSM behind."""
    for record in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/maker.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            maker = json.loads(record.read_text())
            if record.stat().st_uid == os.geteuid() and start_time(maker["pid"]) != maker["start_time"]:
                Dsm(record.parent).remove()
