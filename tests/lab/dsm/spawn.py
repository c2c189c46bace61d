# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DSM as a process of its own: ``with Dsm.temporary() as dsm: dsm.row["url"]``."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..emulated import PREFIX, Emulated, new_password
from ..kit import free_port
from ..process import start_time
from ..tls import make_tls
from .kubeapi import KubeApi
from .seed import NAMESPACE
from .store import make_store
from .tokens import DSM_ADMIN, DSM_USER, INFRA_ADMIN

if TYPE_CHECKING:
    from typing import Self

TOKEN_LIFETIME_S = 12 * 3600


class Dsm(Emulated):
    """One DSM with all that it runs, below *folder*; users, address and databases stay over ``down`` and ``up``.

    ``kill`` is of the emulator alone: gateway, webhooks and controller; the API server and PostgreSQL go on.

    :param name: distinguishes sites; part of the users' addresses.
    :param controller: ``True`` = real PostgreSQL, ``"fake"`` = every cluster is Ready at once, ``False`` = none.
    """

    KIND = "dsm"
    START_TIMEOUT_S = 120
    STOP_TIMEOUT_S = 40
    CALL_TIMEOUT_S = 60

    def __init__(self, folder: Path, *, name: str = "dsm", controller: bool | str = True) -> None:
        super().__init__(folder)
        self.name = name
        self.controller = controller

    @classmethod
    def temporary(cls, **how: Any) -> Self:
        """One in a folder of its own, which goes with it. Those of tests that were killed are removed first."""
        _remove_abandoned()
        made = super().temporary(**how)
        made.folder.chmod(0o711)  # PostgreSQL passes through, as another user
        maker = {"pid": os.getpid(), "start_time": start_time(os.getpid())}
        (made.folder / "maker.json").write_text(json.dumps(maker))
        return made

    def down(self) -> None:
        """Stop it and all that it started, what outlived its kill too. The data stay."""
        super().down()
        KubeApi(self.folder / "kubeapi").stop()
        if (self.folder / "store.json").exists():
            make_store(self.folder).stop_all()

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.down()
        if (self.folder / "store.json").exists():
            make_store(self.folder).remove()
        super().remove()

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in."""
        config = self.written()
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

    def configure(self) -> dict[str, Any]:
        config = {**(self.written() or self.first()), "controller": self.controller}
        self.write(config)
        make_tls(self.folder / "tls")
        return config

    def first(self) -> dict[str, Any]:
        users = {
            key: {
                "email": f"{key}@{self.name}.example.com",
                "role": role,
                "password": new_password(),
                "login": "vsphere" if role == INFRA_ADMIN else "dsm",
            }
            for key, role in (("admin", DSM_ADMIN), ("user", DSM_USER), ("infra", INFRA_ADMIN))
        }
        return {"users": users, "port": free_port(), "token_lifetime": TOKEN_LIFETIME_S}


def _remove_abandoned() -> None:
    """A test run that was killed leaves its DSM behind."""
    for record in Path(tempfile.gettempdir()).glob(f"{PREFIX}{Dsm.KIND}-*/maker.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            maker = json.loads(record.read_text())
            if record.stat().st_uid == os.geteuid() and start_time(maker["pid"]) != maker["start_time"]:
                Dsm(record.parent).remove()
