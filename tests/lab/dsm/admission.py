# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DSM adds to and refuses of a PostgresCluster: two webhooks of the API server.

What the emulator's own parts do (their user is ``dsm``) passes: the lock is for people.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aiohttp import web

from .api import DATABASES, INFRASTRUCTURE, INTERNAL, Api

OWNER = "dsm.vmware.com/owner"
TRANSITION = "dsm.vmware.com/last-version"  # one of those that the server adds by itself
LOCK = "dsm.vmware.com/locked-status"
LOCK_STATES = ("locked", "unlocked-for-edit", "unlocked-for-delete")
RUNS = "18."  # the version whose binaries are there
SELF = "dsm"
_UNITS = {"": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_UNITS |= {f"{letter}i": 1024 ** (power + 1) for power, letter in enumerate("KMGTP")}

Object = Mapping[str, Any]


class DeniedError(Exception):
    """Why a request is not admitted."""

    def __init__(self, message: str, code: int = 403) -> None:
        super().__init__(message)
        self.code = code


def quantity(value: object) -> Decimal:
    """The number that a Kubernetes quantity (``8Gi``, ``500m``, ``4``) stands for."""
    matched = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(value))
    if not matched or matched[2] not in _UNITS:
        raise DeniedError(f"quantity: {value!r} is none", 422)
    return Decimal(matched[1]) * _UNITS[matched[2]]


def expand_version(wanted: str, catalogue: list[str], current: str = "") -> str:
    """The full version that *wanted* begins: the present one where that fits, else the newest of the catalogue.

    :param catalogue: full versions, newest first.
    """
    for version in ([current] if current else []) + catalogue:
        if version == wanted or version.startswith((f"{wanted}.", f"{wanted}+")):
            return version
    raise DeniedError(f"spec.version: {wanted!r} is not supported; supported versions: {', '.join(catalogue)}", 422)


def refuse_locked(operation: str, old: Object, new: Object) -> None:
    """The lock, by the label that stands now: one request cannot unlock and change."""
    state = (old["metadata"].get("labels") or {}).get(LOCK)
    name = old["metadata"]["name"]
    if operation == "DELETE":
        if state not in {None, "unlocked-for-delete"}:
            raise DeniedError(f"PostgresCluster {name!r} is {state}; it must be unlocked-for-delete to be deleted")
    elif state == "locked" and old["spec"] != new["spec"]:
        raise DeniedError(f"PostgresCluster {name!r} is locked; its spec cannot be changed")


def refuse_shrink(old: Object, new: Object, requests: Mapping[str, Object]) -> None:
    """Replicas, storage, VM class: none of them gets smaller.

    :param requests: of the VM classes by name.
    """
    before, after = old["spec"], new["spec"]
    if after.get("replicas", 0) < before.get("replicas", 0):
        raise DeniedError(f"spec.replicas: scale in from {before['replicas']} to {after['replicas']} is not supported")
    if quantity(after["storageSpace"]) < quantity(before["storageSpace"]):
        raise DeniedError(
            f"spec.storageSpace: cannot be reduced from {before['storageSpace']} to {after['storageSpace']}"
        )
    names = (before["vmClass"]["name"], after["vmClass"]["name"])
    if names[0] == names[1] or names[0] not in requests:
        return
    for resource in ("cpu", "memory"):
        if quantity(requests[names[1]][resource]) < quantity(requests[names[0]][resource]):
            raise DeniedError(f"spec.vmClass: {names[1]!r} has less {resource} than {names[0]!r}; cannot be reduced")


class Admission:
    """The webhooks' server."""

    def __init__(self, api: Api, system: str) -> None:
        self._api = api
        self._system = system  # the namespace of backup locations

    def app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/mutate", self._mutate)
        app.router.add_post("/validate", self._validate)
        return app

    async def register(self, url: str, ca: bytes) -> None:
        """Tell the API server of both hooks."""
        for kind, verbs in (("Mutating", ["CREATE", "UPDATE"]), ("Validating", ["CREATE", "UPDATE", "DELETE"])):
            hook = {
                "name": f"{kind.lower()}.postgrescluster.dsm.vmware.com",
                "clientConfig": {"url": f"{url}/{'mutate' if kind == 'Mutating' else 'validate'}"},
                "rules": [
                    {
                        "apiGroups": [DATABASES],
                        "apiVersions": ["*"],
                        "resources": ["postgresclusters"],
                        "operations": verbs,
                    }
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 10,
            }
            hook["clientConfig"]["caBundle"] = base64.b64encode(ca).decode()
            body = {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": f"{kind}WebhookConfiguration",
                "metadata": {"name": "dsm"},
                "webhooks": [hook],
            }
            await self._api.apply("admissionregistration.k8s.io", f"{kind.lower()}webhookconfigurations", None, body)

    # -- hooks ---------------------------------------------------------------------------------------------------------

    async def _mutate(self, request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        old, new = asked.get("oldObject") or {}, asked["object"]
        try:
            changes = await self._changes(asked["userInfo"]["username"], old, new)
        except DeniedError as error:
            return _answer(asked, error)
        return _answer(asked, patch=changes)

    async def _validate(self, request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        try:
            if asked["userInfo"]["username"] != SELF:
                await self._check(asked["operation"], asked.get("oldObject") or {}, asked.get("object") or {})
        except DeniedError as error:
            return _answer(asked, error)
        return _answer(asked)

    async def _changes(self, user: str, old: Object, new: Object) -> list[dict[str, Any]]:
        """What DSM fills in, as a JSON patch. What is wrong in form is left to the schema, which is asked later."""
        spec, had = new.get("spec"), old.get("spec", {})
        if not isinstance(spec, dict) or not isinstance(spec.get("version"), str):
            return []
        wanted = dict(new["metadata"].get("annotations") or {})
        before = (old.get("metadata") or {}).get("annotations") or {}
        wanted.setdefault(OWNER, before.get(OWNER, user))
        version = expand_version(spec["version"], await self._catalogue(), had.get("version", ""))
        wanted[TRANSITION] = version
        found = [{"op": "add", "path": "/metadata/annotations", "value": wanted}]
        if version != spec["version"]:
            found.append({"op": "replace", "path": "/spec/version", "value": version})
        if not spec.get("databaseName"):
            name = had.get("databaseName") or new["metadata"]["name"]
            found.append({"op": "add", "path": "/spec/databaseName", "value": name})
        return found

    async def _check(self, operation: str, old: Object, new: Object) -> None:
        if old:
            refuse_locked(operation, old, new)
        if operation == "DELETE":
            return
        state = (new["metadata"].get("labels") or {}).get(LOCK)
        if state is not None and state not in LOCK_STATES:
            raise DeniedError(f"label {LOCK}: {state!r} is not one of {', '.join(LOCK_STATES)}", 422)
        if old and old["spec"] == new["spec"]:
            return
        if not new["spec"]["version"].startswith(RUNS):
            raise DeniedError(f"spec.version: {new['spec']['version']} is not installed here; {RUNS}x is", 422)
        if old:
            listed = await self._api.list(INFRASTRUCTURE, "vmclasses")
            requests = {row["metadata"]["name"]: row["spec"]["requests"] for row in listed["items"]}
            refuse_shrink(old, new, requests)
            if _number(new["spec"]["version"]) < _number(old["spec"]["version"]):
                raise DeniedError("spec.version: a downgrade is not supported")
        await self._references(new)

    async def _references(self, new: Object) -> None:
        """Everything that the spec names is there."""
        spec, namespace = new["spec"], new["metadata"]["namespace"]
        name = spec["infrastructurePolicy"]["name"]
        policy = await self._named(INFRASTRUCTURE, "infrastructurepolicies", None, name, "spec.infrastructurePolicy")
        if not policy["spec"].get("enabled", True):
            raise DeniedError(f"spec.infrastructurePolicy: {name!r} is not enabled", 422)
        if spec["storagePolicyName"] not in policy["spec"]["storagePolicies"]:
            text = f"{spec['storagePolicyName']!r} is not in infrastructure policy {name!r}"
            raise DeniedError(f"spec.storagePolicyName: {text}: {', '.join(policy['spec']['storagePolicies'])}", 422)
        vm_class = spec["vmClass"]["name"]
        await self._named(INFRASTRUCTURE, "vmclasses", None, vm_class, "spec.vmClass")
        if vm_class not in [row["name"] for row in policy["spec"]["vmClasses"]]:
            raise DeniedError(f"spec.vmClass: {vm_class!r} is not in infrastructure policy {name!r}", 422)
        where = {"cluster": "", "datacenter": "", **spec.get("placementSelector", {})}
        places = policy["spec"].get("placements") or []
        if not any(all(not value or place.get(key) == value for key, value in where.items()) for place in places):
            raise DeniedError(f"spec.placementSelector: no placement of {name!r} is at {where}", 422)
        for field, plural, place in (
            ("backupLocation", "backuplocations", self._system),
            ("databaseConfig", "databaseconfigs", namespace),
        ):
            if field in spec:
                await self._named(DATABASES, plural, place, spec[field]["name"], f"spec.{field}")
        if "adminPasswordRef" in spec:
            wanted = spec["adminPasswordRef"]["name"]
            secret = await self._named("", "secrets", namespace, wanted, "spec.adminPasswordRef")
            if "password" not in (secret.get("data") or {}):
                raise DeniedError(f"spec.adminPasswordRef: Secret {wanted!r} has no key 'password'", 422)

    async def _named(self, group: str, plural: str, namespace: str | None, name: str, field: str) -> dict[str, Any]:
        found = await self._api.get(group, plural, namespace, name)
        if found is None:
            raise DeniedError(f"{field}: {plural} {name!r} not found", 422)
        return found

    async def _catalogue(self) -> list[str]:
        versions: list[str] = []
        for row in (await self._api.list(INTERNAL, "dataservicesreleases"))["items"]:
            for service in row["spec"].get("services", []):
                if service["name"] == "vmware-sql-postgres":
                    versions += [f"{each}+vmware.{row['spec']['version']}" for each in service["supportedVersions"]]
        return sorted(versions, key=_number, reverse=True)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("+")[0].split("."))


def _answer(asked: Object, error: DeniedError | None = None, patch: list[dict[str, Any]] | None = None) -> web.Response:
    response: dict[str, Any] = {"uid": asked["uid"], "allowed": error is None}
    if error is not None:
        response["status"] = _refusal(asked, error)
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
    return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


def _refusal(asked: Object, error: DeniedError) -> dict[str, Any]:
    if error.code != 422:
        return {"code": error.code, "reason": "Forbidden", "message": str(error)}
    field, _colon, words = str(error).partition(": ")
    cause = {"reason": "FieldValueInvalid", "field": field, "message": words}
    kind = {"group": asked["kind"]["group"], "kind": asked["kind"]["kind"], "name": asked.get("name", "")}
    return {"code": 422, "reason": "Invalid", "message": str(error), "details": {**kind, "causes": [cause]}}
