# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One certificate authority and one server certificate for every TLS port of the lab."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1", "::1")


def make_tls(folder: str | Path, names: Sequence[str] = NAMES) -> dict[str, Path]:
    """Paths of ``ca`` (what clients trust), ``cert`` (server certificate and chain) and ``key`` (0600), all PEM.

    The files are made once and kept, so that a client that trusts the authority goes on doing so after a restart.
    """
    folder = Path(folder)
    paths = {"ca": folder / "ca.pem", "cert": folder / "server.pem", "key": folder / "server.key"}
    if all(path.exists() for path in paths.values()):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="onprem.autoscale lab")
    server = authority.issue_cert(*names, common_name="lab")
    descriptor = os.open(paths["key"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(server.private_key_pem.bytes())
    authority.cert_pem.write_to_path(paths["ca"])
    paths["cert"].write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    return paths
