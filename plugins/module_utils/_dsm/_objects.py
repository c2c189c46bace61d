# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The kinds that are used, and what can be done with objects of them.
"""

from __future__ import annotations

import typing as t

from .._common._errors import NotFoundError
from .._common._http import ResponseError
from ._client import Api

Object = dict[str, t.Any]
_DATABASES = "databases.dataservices.vmware.com/v1alpha1"
_INFRASTRUCTURE = "infrastructure.dataservices.vmware.com/v1alpha1"
#: On what this collection makes beside a cluster; the value is the cluster's name.
MADE_FOR = "onprem.autoscale/cluster"


class Kind(t.NamedTuple):
    """A kind, and where it lives."""

    name: str
    plural: str
    version: str
    namespaced: bool = True


CLUSTER = Kind("PostgresCluster", "postgresclusters", _DATABASES)
ARCHIVED = Kind("ArchivedPostgresCluster", "archivedpostgresclusters", _DATABASES)
CONFIG = Kind("DatabaseConfig", "databaseconfigs", _DATABASES)
LOCATION = Kind("BackupLocation", "backuplocations", _DATABASES)
POLICY = Kind("InfrastructurePolicy", "infrastructurepolicies", _INFRASTRUCTURE, False)
VM_CLASS = Kind("VMClass", "vmclasses", _INFRASTRUCTURE, False)
SECRET = Kind("Secret", "secrets", "v1")


class Objects:
    """Reads and writes of the objects of one namespace."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.namespace = api.namespace

    def path(self, kind: Kind, name: str = "", namespace: str | None = None) -> str:
        """The address of an object, or of all of a kind."""
        root = "/apis/" if "/" in kind.version else "/api/"
        where = f"/namespaces/{namespace or self.namespace}" if kind.namespaced else ""
        return f"{root}{kind.version}{where}/{kind.plural}" + (f"/{name}" if name else "")

    def label(self, kind: Kind, name: str) -> str:
        """An object as errors name it."""
        return f"{kind.name} {self.namespace}/{name}" if kind.namespaced else f"{kind.name} {name}"

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None."""
        try:
            return self.api.call(f"read {self.label(kind, name)}", "GET", self.path(kind, name, namespace))
        except NotFoundError:
            return None

    def list(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """All of a kind; none where DSM does not know the kind."""
        try:
            answer = self.api.call(f"list {kind.plural}", "GET", self.path(kind, namespace=namespace))
        except NotFoundError:
            return []
        return list(answer.get("items") or [])

    def peek(self, kind: Kind, name: str, namespace: str | None = None) -> tuple[bool, Object | None]:
        """Whether this account may read it, and the object."""
        try:
            return True, self.get(kind, name, namespace)
        except ResponseError as error:
            if error.status != 403:
                raise
            return False, None

    def peek_all(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """All of a kind; none where this account may not read them."""
        try:
            return self.list(kind, namespace)
        except ResponseError as error:
            if error.status != 403:
                raise
            return []

    def create(self, kind: Kind, body: Object) -> Object:
        """Make it. :raises StaleError: one of that name exists."""
        whole = {"apiVersion": kind.version, "kind": kind.name, **body}
        whole["metadata"] = {"namespace": self.namespace, **body["metadata"]}
        name = body["metadata"]["name"]
        return self.api.call(f"create {self.label(kind, name)}", "POST", self.path(kind), whole)

    def replace(self, kind: Kind, body: Object) -> Object:
        """Write it back. :raises StaleError: it was changed since it was read."""
        name = body["metadata"]["name"]
        return self.api.call(f"change {self.label(kind, name)}", "PUT", self.path(kind, name), body)

    def delete(self, kind: Kind, found: Object) -> None:
        """Remove exactly the object that was read; one that is gone is no error."""
        name = found["metadata"]["name"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": found["metadata"]["uid"]},
        }
        try:
            self.api.call(f"delete {self.label(kind, name)}", "DELETE", self.path(kind, name), options)
        except NotFoundError:
            return
