# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulator as a process of its own, from outside: up and down, killed, asked over its control port."""

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
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .kit import free_port, write_secret
from .process import LabError, Part
from .tls import make_tls

if TYPE_CHECKING:
    from typing import Self

TESTS = Path(__file__).resolve().parents[1]
PREFIX = "onprem-autoscale-"  # of temporary folders


def python_path() -> dict[str, str]:
    """The environment in which ``python -m lab.x`` is found."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))}


def call(url: str, method: str, path: str, body: Any = None, timeout: float = 10) -> Any:
    """A call to the control port at *url*; the JSON of the answer. :raises urllib.error.HTTPError: it refused."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.loads(response.read())


def new_password() -> str:
    return secrets.token_urlsafe(16)


class Emulated:
    """One emulator below *folder*; what it holds stays over ``down`` and ``up``.

    ``python -m lab.KIND.emulator FOLDER`` reads ``config.json`` there and writes ``ready.json`` once it serves.
    """

    KIND: ClassVar[str]
    PART: ClassVar[str] = "emulator"  # its log is PART.log
    START_TIMEOUT_S: ClassVar[float] = 60
    STOP_TIMEOUT_S: ClassVar[float] = 10
    CALL_TIMEOUT_S: ClassVar[float] = 30

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = dict(environment or {})
        self._part = Part(self.PART, folder, folder)
        self._temporary = False

    @classmethod
    def temporary(cls, **how: Any) -> Self:
        """One in a folder of its own, which goes with it; *how* is what the class takes."""
        made = cls(Path(tempfile.mkdtemp(prefix=f"{PREFIX}{cls.KIND}-")), **how)
        made._temporary = True
        return made

    def __enter__(self) -> Self:
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
            self.configure()
            command = [sys.executable, "-m", f"lab.{self.KIND}.emulator", str(self.folder)]
            self._part.start(command, {**self._environment, **python_path()})
            self._part.wait_ready((self.folder / "ready.json").exists, self.START_TIMEOUT_S)
        return self.row

    def down(self) -> None:
        """Stop it. What it holds stays."""
        self._part.stop(self.STOP_TIMEOUT_S)
        (self.folder / "ready.json").unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9."""
        pid = self._part.pid()
        if pid is None:
            raise LabError(f"no {type(self).__name__} runs in {self.folder}")
        os.kill(pid, signal.SIGKILL)
        if not self._part.wait_gone(10):
            raise LabError(f"the {type(self).__name__} in {self.folder} survives kill -9")

    def remove(self) -> None:
        """Stop it and delete what it holds."""
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def running(self) -> bool:
        return self._part.pid() is not None and (self.folder / "ready.json").exists()

    def configure(self) -> dict[str, Any]:
        """Write what it reads at its start; addresses and users stay as they were."""
        raise NotImplementedError

    def first(self) -> dict[str, Any]:
        """What is in its configuration from its first start on, such as users."""
        raise NotImplementedError

    def written(self) -> dict[str, Any]:
        """``config.json``; empty before the first start."""
        file = self.folder / "config.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def write(self, config: Mapping[str, Any]) -> None:
        """``config.json``, which has passwords, for its owner alone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_secret(self.folder / "config.json", json.dumps(config, indent=2))

    # -- what a client needs -------------------------------------------------------------------------------------------

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in; ``control`` is the address of its control port."""
        raise NotImplementedError

    def call(self, method: str, path: str, body: Any = None, timeout: float | None = None) -> Any:
        """A call to the control port; the JSON of the answer."""
        return call(self.row["control"], method, path, body, timeout or self.CALL_TIMEOUT_S)

    def log(self) -> str:
        """What it has written."""
        return self._part.log.read_text(errors="replace")


class Addressed(Emulated):
    """One whose address can be chosen.

    :param port: of the API; a free one, kept from then on, where none is given.
    :param control_port: the same.
    """

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", port: int = 0, control_port: int = 0) -> None:
        super().__init__(folder)
        self._wanted = {"host": host, "port": port, "control_port": control_port}

    def configure(self) -> dict[str, Any]:
        config = self.written() or self.first()
        config["host"] = self._wanted["host"]
        for key in ("port", "control_port"):
            config[key] = self._wanted[key] or config.get(key) or free_port(config["host"])
        self.write(config)
        make_tls(self.folder / "tls", ("localhost", "127.0.0.1", "::1", *{config["host"]} - {"127.0.0.1"}))
        return config
