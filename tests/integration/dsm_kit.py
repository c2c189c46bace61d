# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the DSM modules share: a DSM, calls of modules that give no secret away, a second client."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from lab.dsm.spawn import Dsm

CLUSTERS = "/apis/databases.dataservices.vmware.com/v1alpha1/namespaces/default/postgresclusters"
CONFIGS = CLUSTERS.replace("postgresclusters", "databaseconfigs")
SECRETS = "/api/v1/namespaces/default/secrets"
PASSWORD = "ge:heim\\S3cret"
SIZE = {
    "version": "18",
    "vm_class": "small",
    "storage_space": "10Gi",
    "storage_policy": "gold",
    "infrastructure_policy": "ai",
}
Run = Callable[..., dict[str, Any]]


class Site:
    """A running DSM, seen by the modules (``run``) and by a client that we did not write (``get``, ``put``)."""

    def __init__(self, dsm: Dsm, run_module: Run) -> None:
        self.dsm = dsm
        self.row = dsm.row
        self._run = run_module
        self._names = itertools.count(1)
        self._session = requests.Session()
        self._session.trust_env = False  # else REQUESTS_CA_BUNDLE outranks verify
        self._session.verify = self.row["ca"]
        self.secrets = {PASSWORD, *(user["password"] for user in self.row["users"].values())}
        self.login()

    def login(self) -> None:
        """A token for the second client."""
        answer = self._session.post(f"{self.row['url']}/provider/session", json=self.row["users"]["admin"], timeout=30)
        answer.raise_for_status()
        self._session.headers["Authorization"] = answer.headers["Authorization"]
        self.secrets.add(answer.headers["Authorization"].split()[1])

    def name(self) -> str:
        """A name that no cluster has yet."""
        return f"docs-{next(self._names)}"

    def args(self, user: str = "admin", url: str = "") -> dict[str, Any]:
        """Connection options."""
        return {
            "url": url or self.row["url"],
            "email": self.row["users"][user]["email"],
            "password": self.row["users"][user]["password"],
            "login": "vsphere" if user == "infra" else "dsm",
            "ca_path": self.row["ca"],
        }

    def run(self, module: str, /, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        """A module's result. No password and no token stands in it, whatever happened (C1)."""
        waits = {"wait_interval": 0.1, "wait_timeout": 60} if "info" not in module else {}
        given = {**({} if "kubeconfig" in options else self.args()), **waits, **options}
        result = self._run(module, given, check=check, diff=diff)
        told = json.dumps({key: value for key, value in result.items() if key != "invocation"})
        assert [secret for secret in self.secrets if json.dumps(secret)[1:-1] in told] == []
        assert PASSWORD not in json.dumps(result)
        return result

    def cluster(self, **options: Any) -> dict[str, Any]:
        """``dsm_postgres_cluster``, expected to succeed."""
        result = self.run("dsm_postgres_cluster", **options)
        assert not result["failed"], result
        return result

    def refused(self, **options: Any) -> str:
        """``dsm_postgres_cluster``, expected to fail; what it says."""
        result = self.run("dsm_postgres_cluster", **options)
        assert result["failed"], result
        return result["msg"]

    def get(self, path: str) -> dict[str, Any] | None:
        answer = self._session.get(self.row["url"] + path, timeout=30)
        return None if answer.status_code == 404 else self._answer(answer)

    def patch(self, path: str, body: Any) -> dict[str, Any]:
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._answer(self._session.patch(self.row["url"] + path, json=body, headers=headers, timeout=30))

    def version(self, name: str) -> str:
        """The resourceVersion of a cluster's last change by people, so to say: of its metadata and spec."""
        found = self.get(f"{CLUSTERS}/{name}")
        assert found
        return json.dumps([found["spec"], found["metadata"].get("labels"), found["metadata"]["generation"]])

    @staticmethod
    def _answer(answer: requests.Response) -> dict[str, Any]:
        answer.raise_for_status()
        return answer.json()


@contextmanager
def site(run_module: Run, controller: bool | str) -> Iterator[Site]:
    """A DSM for the tests of one file."""
    with Dsm.temporary(controller=controller) as dsm:
        yield Site(dsm, run_module)


def trust(dsm: Dsm) -> dict[str, Path]:
    """Its certificates, for a proxy before it."""
    folder = dsm.folder / "tls"
    return {"ca": folder / "ca.pem", "cert": folder / "server.pem", "key": folder / "server.key"}
