# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Harbor as a process of its own: ``with Harbor.temporary() as harbor: harbor.row["url"]``."""

from __future__ import annotations

from typing import Any

from ..emulated import Addressed, new_password

ROBOT = "robot$replication"


class Harbor(Addressed):
    """One Harbor; users, address and artifacts stay over ``down`` and ``up``."""

    KIND = PART = "harbor"

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in; ``robot`` may push and pull, and administers nothing."""
        config = self.written()
        return {
            "url": f"https://{config['host']}:{config['port']}",
            "ca": str(self.folder / "tls" / "ca.pem"),
            "username": "admin",
            "password": config["users"]["admin"]["password"],
            "robot": {"username": ROBOT, "password": config["users"][ROBOT]["password"]},
            "control": f"http://{config['host']}:{config['control_port']}",
        }

    def seed(self, repository: str, tag: str, content: str = "", **more: Any) -> str:
        """Put a model there; its digest."""
        return self.call("POST", "/artifacts", {"repository": repository, "tag": tag, "content": content, **more})[
            "digest"
        ]

    def artifacts(self) -> set[tuple[str, str, str]]:
        """(repository, tag, digest) of all that it holds."""
        return {(row["repository"], row["tag"], row["digest"]) for row in self.call("GET", "/artifacts")}

    def first(self) -> dict[str, Any]:
        accounts = {"admin": True, ROBOT: False}
        return {"users": {name: {"password": new_password(), "admin": admin} for name, admin in accounts.items()}}
