# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DSM emulator as plain HTTP sees it, and a cluster that it takes."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import yaml

from lab.dsm.api import DATABASES
from lab.dsm.seed import RELEASE, VERSIONS
from lab.dsm.spawn import Dsm

# In full: the API server takes what a webhook changes back for a change (of managedFields), a second later.
SPEC: dict[str, Any] = {
    "version": f"{VERSIONS[0]}+vmware.{RELEASE}",
    "replicas": 0,
    "vmClass": {"name": "small"},
    "storageSpace": "20Gi",
    "storagePolicyName": "gold",
    "infrastructurePolicy": {"name": "ai"},
}


class Site:
    """An emulator, and plain HTTP to it."""

    def __init__(self, dsm: Dsm) -> None:
        self.dsm = dsm
        self.row = dsm.row
        self._context = ssl.create_default_context(cafile=self.row["ca"])

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of one request to the gateway."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.row["url"] + path, data=data, method=method)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=20, context=self._context) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()

    def token(self, user: str = "admin") -> str:
        """The value of the header Authorization that a login of that user gives."""
        who = self.row["users"][user]
        if user == "infra":
            path, body = "/provider/plugin/session-using-vc-credentials", {"username": who["email"]}
        else:
            path, body = "/provider/session", {"email": who["email"]}
        code, headers, text = self.call("POST", path, {**body, "password": who["password"]})
        assert code == 200, text
        return headers["Authorization"]

    def kubeconfig(self, user: str, token: str = "") -> str:
        """The text of a kubeconfig for that user: for a new session, or with that token."""
        headers = {"Authorization": self.token(user), "Accept": "application/vnd.vmware.dms-v1+octet-stream"}
        code, _headers, text = self.call("GET", "/provider/gateway-kubeconfig", headers=headers)
        assert code == 200, text
        config = yaml.safe_load(text)
        if token:
            config["users"][0]["user"]["token"] = token.partition(" ")[2]
        return yaml.safe_dump(config)

    def ended_token(self, user: str = "admin") -> str:
        """As :meth:`token`, and its life is over."""
        self.dsm.call("POST", "/tokens", {"lifetime": 0})
        try:
            return self.token(user)
        finally:
            self.dsm.call("POST", "/tokens", {"lifetime": 3600})


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    """A PostgresCluster that the emulator takes."""
    return {
        "apiVersion": f"{DATABASES}/v1alpha1",
        "kind": "PostgresCluster",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**SPEC, **spec},
    }
