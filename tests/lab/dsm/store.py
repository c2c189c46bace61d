# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the emulator's PostgreSQL lives: folders that the server's user can reach."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..pgserver import Server
from ..process import Part


@dataclass(frozen=True)
class Store:
    """Folders that the server's user can reach: data of all clusters, and the sockets."""

    root: Path
    sockets: Path

    def cluster(self, uid: str) -> Path:
        """The folder of a cluster, made."""
        return self.folder(self.root / uid)

    def folder(self, path: Path) -> Path:
        """Make a folder of the server's user."""
        return Server(Part("store", self.root, self.root))._owned_folder(path)

    def stop_all(self) -> None:
        """Stop whatever runs here, by the records: also after the emulator was killed."""
        parts = [Part(file.stem, file.parent, file.parent) for file in sorted(self.root.glob("*/run/postgres-*.json"))]
        for part in parts:
            pid = part.pid()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)  # fast: sessions are ended
        for part in parts:
            part.wait_gone(20)
            part.stop()

    def remove(self) -> None:
        """And delete it."""
        self.stop_all()
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)


def make_store(folder: Path) -> Store:
    """The store of the emulator in *folder*, which may be root's alone: the same one each time."""
    record = folder / "store.json"
    if record.exists():
        return Store(**{key: Path(value) for key, value in json.loads(record.read_text()).items()})
    folder.mkdir(parents=True, exist_ok=True)
    maker = Server(Part("store", folder, folder))
    root = maker._owned_folder(folder / "store")
    # A socket's path is 107 characters at most.
    near = Path(tempfile.gettempdir())
    near = near if len(str(near)) < 70 else Path("/tmp")
    sockets = maker._owned_folder(near / f"dsm-{secrets.token_hex(4)}")
    record.write_text(json.dumps({"root": str(root), "sockets": str(sockets)}))
    return Store(root, sockets)
