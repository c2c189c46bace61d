# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Replication policies. Harbor takes a whole policy at each change, so what is not given is taken from what is there.
"""

from __future__ import annotations

import re
import typing as t

from .._common._errors import ConflictError, InvalidSpecError, NotFoundError, UnsettledError
from ._client import Api, Row

PATH = "/replication/policies"
FILTER_TYPES = ("name", "tag", "label", "resource")
TRIGGERS = ("manual", "event_based", "scheduled")
CRON_FIELDS = 6

POLICY_OPTIONS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "description": {"type": "str"},
    "mode": {"type": "str", "choices": ["push", "pull"]},
    "filters": {
        "type": "list",
        "elements": "dict",
        "options": {
            "type": {"type": "str", "choices": list(FILTER_TYPES), "required": True},
            "value": {"type": "raw", "required": True},
            "decoration": {"type": "str", "choices": ["matches", "excludes"]},
        },
    },
    "trigger": {
        "type": "dict",
        "options": {
            "type": {"type": "str", "choices": list(TRIGGERS), "required": True},
            "cron": {"type": "str"},
        },
    },
    "dest_namespace": {"type": "str"},
    "dest_namespace_replace_count": {"type": "int"},
    "override": {"type": "bool"},
    "enabled": {"type": "bool"},
    "replicate_deletion": {"type": "bool"},
    "speed": {"type": "int"},
    "copy_by_chunk": {"type": "bool"},
    "single_active_replication": {"type": "bool"},
}
#: Options that are fields of Harbor's, with what a new policy has where nothing is given.
PLAIN = {
    "description": "", "dest_namespace": "", "dest_namespace_replace_count": -1, "override": True, "enabled": True,
    "replicate_deletion": False, "speed": 0, "copy_by_chunk": False, "single_active_replication": False,
}  # fmt: skip


class Policies:
    """The replication policies of one Harbor."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def all(self) -> list[Row]:
        """Every policy, by name."""
        return sorted(self._api.pages("read the replication policies", PATH), key=lambda row: row["name"])

    def find(self, name: str) -> Row | None:
        """By name."""
        return self._api.named(f"read the policy {name}", PATH, name)

    def need(self, name: str) -> Row:
        """:raises NotFoundError: there is none."""
        found = self.find(name)
        if found is None:
            raise NotFoundError(
                f"Harbor {self._api.name} has no replication policy {name}",
                remedy="Give registry and policy, so that it is made.",
            )
        return found

    def present(
        self, options: t.Mapping[str, t.Any], registry: Row | None, *, check_mode: bool
    ) -> tuple[Row, Row | None, Row]:
        """Make it so. Returns the policy as it is now (in check mode: as it would be), and before and after for a diff.

        :param registry: the other side; None leaves that of a policy that is there.
        """
        check(options)
        name = options["name"]
        live = self.find(name)
        if live is None and registry is None:
            raise NotFoundError(
                f"Harbor {self._api.name} has no replication policy {name}",
                remedy="Give registry, so that it can be made.",
            )
        before = None if live is None else flat(live)
        base = before or {"name": name, "mode": "push", "filters": [], "trigger": {"type": "manual"}, **PLAIN}
        after = _merged(base, options, registry)
        if after == before:
            return live or {}, before, after
        if check_mode:
            return {**(live or {"id": 0}), **after}, before, after
        self._write(live, after)
        return self.need(name), before, after

    def absent(self, name: str, *, check_mode: bool) -> Row | None:
        """Take it and the history of its runs away; what was there."""
        live = self.find(name)
        if live is None:
            return None
        if not check_mode:
            try:
                self._api.call(f"delete the policy {name}", "DELETE", f"{PATH}/{live['id']}")
            except NotFoundError:
                pass
            except ConflictError as error:
                raise ConflictError(
                    error.message, remedy="Wait until its run has ended, or stop it in Harbor."
                ) from error
            except UnsettledError:
                if self.find(name):
                    raise
        return flat(live)

    def _write(self, live: Row | None, after: Row) -> None:
        name = after["name"]
        method, path = ("POST", PATH) if live is None else ("PUT", f"{PATH}/{live['id']}")
        what = f"{'create' if live is None else 'change'} the policy {name}"
        try:
            self._api.call(what, method, path, _body(live, after))
        except UnsettledError:
            now = self.find(name)
            if now is None or flat(now) != after:
                raise


def check(options: t.Mapping[str, t.Any]) -> None:
    """What Harbor would refuse, or take and not heed.

    :raises InvalidSpecError: names the option, the value and what is allowed.
    """
    for index, row in enumerate(options["filters"] or []):
        where = f"policy.filters[{index}]"
        if row["type"] == "label":
            if not isinstance(row["value"], list):
                raise InvalidSpecError(f"{where}.value: value is {row['value']!r}; allowed: a list of labels")
        elif not isinstance(row["value"], str) or not row["value"]:
            raise InvalidSpecError(f"{where}.value: value is {row['value']!r}; allowed: a pattern such as models/**")
        if row["decoration"] == "excludes" and row["type"] in ("name", "resource"):
            raise InvalidSpecError(f"{where}.decoration: value is excludes; allowed: only with a tag or a label")
    trigger = options["trigger"]
    if trigger:
        cron = trigger["cron"]
        wrong = f"policy.trigger.cron: value is {cron!r}; allowed: "
        if (trigger["type"] == "scheduled") != bool(cron):
            raise InvalidSpecError(f"{wrong}{CRON_FIELDS} fields with type scheduled, else nothing")
        if cron and len(cron.split()) != CRON_FIELDS:
            raise InvalidSpecError(f"{wrong}{CRON_FIELDS} fields, seconds first, such as 0 0 1 * * *")
    namespace = options["dest_namespace"]
    if namespace and not re.match(r"^[a-z0-9]+([._/-][a-z0-9]+)*$", namespace):
        raise InvalidSpecError(f"policy.dest_namespace: value is {namespace!r}; allowed: a path in small letters")


def _merged(base: Row, options: t.Mapping[str, t.Any], registry: Row | None) -> Row:
    after = {**base, **{key: options[key] for key in PLAIN if options[key] is not None}}
    if options["mode"]:
        after["mode"] = options["mode"]
    if registry is not None:
        after["registry"] = registry["name"]
        after["registry_id"] = registry["id"]
    if options["filters"] is not None:
        after["filters"] = [_filter(row) for row in options["filters"]]
    if options["trigger"]:
        after["trigger"] = _trigger(options["trigger"]["type"], options["trigger"]["cron"])
    return after


def _filter(row: t.Mapping[str, t.Any]) -> Row:
    """Nothing is the same as ``matches``."""
    return {"type": row["type"], "value": row["value"], "decoration": row.get("decoration") or "matches"}


def _trigger(kind: str, cron: str | None) -> Row:
    return {"type": kind, **({"cron": cron} if cron else {})}


def flat(live: Row) -> Row:
    """A policy as it can be compared."""
    pull = bool((live.get("src_registry") or {}).get("id"))
    other = live.get("src_registry" if pull else "dest_registry") or {}
    trigger = live.get("trigger") or {}
    row = {key: type(empty)(live[key]) if live.get(key) is not None else empty for key, empty in PLAIN.items()}
    if live.get("replicate_deletion") is None:  # its old name
        row["replicate_deletion"] = bool(live.get("deletion"))
    for key, absent in (("override", False), ("enabled", False)):
        row[key] = bool(live.get(key, absent))
    return {
        "name": live["name"],
        "mode": "pull" if pull else "push",
        "registry": other.get("name") or "",
        "registry_id": other.get("id") or 0,
        "filters": [_filter(one) for one in live.get("filters") or []],
        "trigger": _trigger(trigger.get("type") or "manual", (trigger.get("trigger_settings") or {}).get("cron")),
        **row,
    }


def _body(live: Row | None, after: Row) -> Row:
    """What Harbor takes; fields that we do not know stay as they are."""
    side = {"id": after["registry_id"]}
    trigger = after["trigger"]
    settings = {"trigger_settings": {"cron": trigger["cron"]}} if "cron" in trigger else {}
    body = {key: after[key] for key in ("name", *PLAIN)}
    kept = {
        key: value
        for key, value in (live or {}).items()
        if key not in ("id", "creation_time", "update_time", "deletion")
    }
    return {
        **kept,
        **body,
        "deletion": after["replicate_deletion"],  # its old name
        "src_registry": side if after["mode"] == "pull" else None,
        "dest_registry": side if after["mode"] == "push" else None,
        "filters": after["filters"],
        "trigger": {"type": trigger["type"], **settings},
    }


def shown(live: Row | None) -> Row | None:
    """For a result."""
    return None if live is None else {"id": live["id"], **(flat(live) if "registry_id" not in live else live)}
