# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real Kubernetes API server behind the emulator (``kubeapi/main.go``): started, found again, stopped."""

from __future__ import annotations

import json
import secrets
import shutil
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..build import build_go
from ..kit import free_port, write_secret
from ..process import Part
from ..tls import make_tls
from .api import Api


class KubeApi:
    """One API server with its data, below *folder*; the port and the token are the same at each start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.part = Part("kubeapi", folder, folder)

    @property
    def ca(self) -> Path:
        return self.folder / "tls" / "ca.pem"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._record()['port']}"

    @property
    def token(self) -> str:
        """The administrator's, known to the emulator alone."""
        return self._record()["token"]

    def api(self) -> Api:
        """A client as administrator."""
        return Api(self.url, self.token, self.ca)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._record_file.exists():
            self._make()
        record = self._record()
        tls = make_tls(self.folder / "tls")
        key = str(self.folder / "accounts.key")
        etcd = {"ETCD_DIR": str(self.folder / "etcd"), "ETCD_PEER": f"http://127.0.0.1:{free_port()}"}
        etcd["ETCD_CLIENT"] = f"http://127.0.0.1:{free_port()}"
        command = [
            str(build_go("kubeapi")),
            f"--etcd-servers={etcd['ETCD_CLIENT']}",
            "--bind-address=127.0.0.1",
            f"--secure-port={record['port']}",
            f"--tls-cert-file={tls['cert']}",
            f"--tls-private-key-file={tls['key']}",
            f"--cert-dir={self.folder}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=AlwaysAllow",  # who may do what is the gateway's business, as it is DSM's
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://lab",
        ]
        self.part.start(command, etcd)
        self.part.wait_ready(self._ready, timeout=90)

    def stop(self) -> None:
        self.part.stop()

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- how -----------------------------------------------------------------------------------------------------------

    @property
    def _record_file(self) -> Path:
        return self.folder / "server.json"

    def _record(self) -> dict[str, str]:
        return json.loads(self._record_file.read_text())

    def _make(self) -> None:
        token = secrets.token_urlsafe(24)
        write_secret(self.folder / "tokens.csv", f'{token},dsm,dsm,"system:masters"\n')
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
        write_secret(self.folder / "accounts.key", key.private_bytes(*form, serialization.NoEncryption()).decode())
        write_secret(self._record_file, json.dumps({"port": free_port(), "token": token}))

    def _ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(
                request, timeout=2, context=ssl.create_default_context(cafile=str(self.ca))
            ) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False
