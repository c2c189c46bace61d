# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PAIS as a process of its own: ``with Pais.temporary() as pais: pais.row["url"]``."""

from __future__ import annotations

from typing import Any

from ..emulated import Addressed, new_password
from .emulator import REALM


class Pais(Addressed):
    """One PAIS; users, address and objects stay over ``down`` and ``up``."""

    KIND = PART = "pais"

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in: the options of the modules, ``ca`` and ``control``."""
        config = self.written()
        url = f"https://{config['host']}:{config['port']}"
        (username, secret), *_others = config["users"].items()
        return {
            "url": url,
            "issuer": url + REALM,
            "client_id": config["client_id"],
            "client_secret": config["client_secret"],
            "username": username,
            "password": secret,
            "ca": str(self.folder / "tls" / "ca.pem"),
            "control": f"http://{config['host']}:{config['control_port']}",
        }

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """What it holds, by name, with the secrets."""
        return {row["name"]: row for row in self.call("GET", "/objects")[kind]}

    def first(self) -> dict[str, Any]:
        return {
            "client_id": "autoscale",
            "client_secret": new_password(),
            "users": {"operator": new_password()},
            "lifetime": 300,
        }
