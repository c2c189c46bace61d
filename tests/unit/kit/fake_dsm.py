# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DSM in memory below the kubernetes client's pool: login, objects with resourceVersion and uid, faults on demand."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

URL = "https://dsm.example.org"
PASSWORD = "dsm-Pass:w0rd"
DATABASES = "/apis/databases.dataservices.vmware.com/v1alpha1/namespaces/default"
CLUSTERS = f"{DATABASES}/postgresclusters"
CONFIGS = f"{DATABASES}/databaseconfigs"
SECRETS = "/api/v1/namespaces/default/secrets"
CLASSES = "/apis/infrastructure.dataservices.vmware.com/v1alpha1/vmclasses"
POLICIES = "/apis/infrastructure.dataservices.vmware.com/v1alpha1/infrastructurepolicies"


@dataclasses.dataclass
class Response:
    """What urllib3 would give."""

    status: int
    data: bytes = b"{}"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reason: str = ""


@dataclasses.dataclass
class Fault:
    """Spoils the first call that fits. ``applied``: the change is made before. ``before`` runs first."""

    method: str
    path: str
    status: int = 0
    message: str = "broken"
    error: Exception | None = None
    applied: bool = False
    before: Callable[[], None] | None = None


class FakeDsm:
    """The pool. ``objects`` by path; ``calls`` are (method, path) of all that came, logins included."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.token = "token-1"
        self.logins = 0
        self.ready = True
        self.denied: set[str] = set()
        self.keep: Callable[[dict[str, Any]], None] = lambda body: None
        self._version = 0

    def clear(self) -> None:
        """The connections are given back."""

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Calls that change something."""
        return [call for call in self.calls if call[0] != "GET" and "/provider/" not in call[1]]

    def fault(self, method: str, path: str, **rest: Any) -> None:
        """Add a fault."""
        self.faults.append(Fault(method, path, **rest))

    def put(self, path: str, spec: Mapping[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
        """Write as the server would, for a test or for somebody else."""
        old = self.objects.get(path) or {}
        self._version += 1
        body = copy.deepcopy({**old, **({"spec": dict(spec)} if spec is not None else {}), **rest})
        meta = {"name": path.rsplit("/", 1)[1], "namespace": "default", "uid": f"u{self._version}", "generation": 0}
        body["metadata"] = {**meta, **(old.get("metadata") or {}), **(rest.get("metadata") or {})}
        body["metadata"]["resourceVersion"] = str(self._version)
        self.keep(body)
        if body.get("spec") != old.get("spec"):
            body["metadata"]["generation"] += 1
        if path.startswith(CLUSTERS) and self.ready:
            body["status"] = self.status(body)
        self.objects[path] = body
        return body

    @staticmethod
    def status(body: Mapping[str, Any]) -> dict[str, Any]:
        """Of a cluster that is ready."""
        meta, spec = body["metadata"], body["spec"]
        secret = (spec.get("adminPasswordRef") or {}).get("name", f"{meta['name']}-pw")
        return {
            "conditions": [{"type": "Ready", "status": "True", "observedGeneration": meta["generation"]}],
            "connection": {
                "host": "192.0.2.10",
                "port": 5432,
                "dbname": spec.get("databaseName", meta["name"]),
                "username": "pgadmin",
                "passwordRef": {"name": secret},
            },
        }

    def request(
        self, method: str, url: str, *, body: Any, headers: Mapping[str, str], timeout: Any, redirect: bool
    ) -> Response:
        """As urllib3's pool manager."""
        assert url.startswith(URL)
        assert not redirect
        assert timeout
        path = urlsplit(url).path
        self.calls.append((method, path))
        sent = json.loads(body) if body else None
        fault = next((one for one in self.faults if (one.method, one.path) == (method, path)), None)
        if fault:
            self.faults.remove(fault)
            if fault.before:
                fault.before()
            if fault.applied:
                self._answer(method, path, sent)
            if fault.error:
                raise fault.error
            if fault.status:
                return _status(fault.status, fault.message)
        if path == "/provider/session":
            return self._login(sent)
        if headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        return self._answer(method, path, sent)

    def _login(self, sent: Any) -> Response:
        self.logins += 1
        if sent != {"email": "a@example.org", "password": PASSWORD}:
            return _status(401, f"no: {sent['password']}")
        return Response(200, headers={"Authorization": f"Bearer {self.token}"})

    def _answer(self, method: str, path: str, sent: Any) -> Response:
        if any(path.startswith(prefix) for prefix in self.denied):
            return _status(403, f'denied - role "DSM_USER" has no permission on {path}')
        found = self.objects.get(path)
        if method == "POST":
            path += f"/{sent['metadata']['name']}"
            if path in self.objects:
                return _status(409, "already exists")
            rest = {key: value for key, value in sent.items() if key != "spec"}
            return _json(self.put(path, sent.get("spec"), **rest))
        if found is None:
            items = [one for key, one in sorted(self.objects.items()) if key.rsplit("/", 1)[0] == path]
            if method == "GET" and (items or path in (CLUSTERS, CONFIGS, SECRETS)):
                return _json({"items": items})
            return _status(404, "not found")
        if method == "PUT":
            if sent["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                return _status(409, "the object has been modified")
            rest = {key: value for key, value in sent.items() if key not in ("spec", "status")}
            return _json(self.put(path, sent.get("spec"), **rest))
        if method == "DELETE":
            if sent["preconditions"]["uid"] != found["metadata"]["uid"]:
                return _status(409, "uid")
            del self.objects[path]
            return _json({"status": "Success"})
        return _json(found)


def _json(body: Any) -> Response:
    return Response(200, json.dumps(body).encode())


def _status(code: int, message: str) -> Response:
    return Response(code, json.dumps({"kind": "Status", "message": message, "code": code}).encode())
