# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the lab's members serve their metrics: TLS and a password, as the templates of the role node_exporter say.

Made once for all labs of a checkout, and again when the role changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import trustme

from .debs import binary
from .process import LabError
from .settings import REPO

PLAYBOOK = Path(__file__).with_suffix(".yml")
ROLE = REPO / "roles" / "node_exporter"
NAME = "member.lab"  # in the members' certificate: their addresses come and go
USER, PASSWORD = "prometheus", "only-for-tests"
_HASH = "$2b$04$ZSDDgJyTOSQ/4tcs7KHCTOUWpCYdPgcyeXKaa6Ej1PIGJIfag/Y2W"


def arguments(build: Path = REPO / "build") -> Path:
    """The file of node_exporter's arguments; what it names lies beside it, and so does ``ca.pem``.

    :raises LabError: the templates could not be rendered, or node_exporter refuses what they say.
    """
    sources = [PLAYBOOK, Path(__file__), *sorted(path for path in ROLE.rglob("*") if path.is_file())]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = build / "exporter" / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "arguments").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _certificates(folder)
            _render(folder)
    return folder / "arguments"


def credentials(source: Path, target: Path) -> None:
    """Put what Prometheus needs to scrape the members, beside its configuration: the group's job names these files."""
    shutil.copy(source.parent / "ca.pem", target / "exporter-ca.pem")
    (target / "exporter-password").write_text(PASSWORD)


def _certificates(folder: Path) -> None:
    authority = trustme.CA(organization_name="onprem.autoscale lab members")
    member = authority.issue_cert(NAME)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    member.private_key_pem.write_to_path(folder / "tls.key")
    (folder / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in member.cert_chain_pems))


def _render(folder: Path) -> None:
    options = {
        "node_exporter_install": "existing",
        "node_exporter_binary": str(binary("node_exporter")),
        "node_exporter_config_dir": str(folder),
        "node_exporter_tls": {"cert": str(folder / "tls.crt"), "key": str(folder / "tls.key")},
        "node_exporter_basic_auth": {USER: _HASH},
    }
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        "localhost,",
        str(PLAYBOOK),
        "-e",
        json.dumps(options),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO)
    if done.returncode:
        raise LabError(f"the members' exporter configuration could not be made:\n{done.stdout}{done.stderr}")
