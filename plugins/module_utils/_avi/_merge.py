# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What is wanted, merged into what is there; no input or output. A service is the dictionary that the controller gave,
with every field that nobody asked about left as it is.
"""

from __future__ import annotations

import copy
import typing as t

from .._common._errors import InvalidSpecError, NotFoundError

Service = dict[str, t.Any]
ALGORITHMS = {"priority": "GSLB_SERVICE_ALGORITHM_PRIORITY", "geo": "GSLB_SERVICE_ALGORITHM_GEO"}
DOWN = {name: f"GSLB_SERVICE_DOWN_RESPONSE_{name.upper()}" for name in ("none", "all_records", "fallback_ip", "empty")}
#: Option of the module -> field of the controller, where only the name differs or not even that.
PLAIN = {
    "description": "description",
    "domain_names": "domain_names",
    "enabled": "enabled",
    "ttl": "ttl",
    "min_members": "min_members",
    "controller_health_status": "controller_health_status_enabled",
}
GROUP_FIELDS = ("priority", "manual_resume")
MEMBER_FIELDS = ("ratio", "preference_order")
ENABLED, DISABLED, ABSENT = "enabled", "disabled", "absent"
#: What the server adds; not compared, and not shown in a diff.
SERVER = ("_last_modified", "url", "uuid", "tenant_ref")


def check_wish(params: t.Mapping[str, t.Any]) -> None:
    """:raises InvalidSpecError: names the option, the value and what is allowed; nothing was asked yet."""
    groups = [group["name"] for group in params["groups"] or []]
    for name in groups:
        if groups.count(name) > 1:
            raise InvalidSpecError(f"groups: {name!r} stands there more than once; allowed: once")
    seen: list[str] = []
    for index, member in enumerate(params["members"] or []):
        if bool(member["cluster_uuid"]) != bool(member["vs_uuid"]):
            raise InvalidSpecError(f"members[{index}]: cluster_uuid and vs_uuid belong together; one is missing")
        if not (member["ip"] or member["fqdn"] or member["vs_uuid"]):
            raise InvalidSpecError(
                f"members[{index}]: nothing says which one is meant; allowed: ip, fqdn, or cluster_uuid and vs_uuid"
            )
        name = f"{label(member)} in {member['group']}"
        if name in seen:
            raise InvalidSpecError(f"members[{index}]: {label(member)} stands there more than once; allowed: once")
        seen.append(name)
    answer = params["down_response"] or {}
    if (answer.get("type") == "fallback_ip") != bool(answer.get("fallback_ip")):
        raise InvalidSpecError("down_response: fallback_ip has to be given with type=fallback_ip, and with no other")


def address_of(member: t.Mapping[str, t.Any]) -> str | None:
    """Its address, as the controller (``{addr, type}``) or as the module's option (text) has it."""
    found = member.get("ip")
    return found.get("addr") if isinstance(found, dict) else found


def normal(service: Service) -> Service:
    """With the lists that a controller leaves out where they are empty."""
    groups = [{**group, "members": group.get("members") or []} for group in service.get("groups") or []]
    return {**service, "groups": groups}


def label(member: t.Mapping[str, t.Any]) -> str:
    """What a person knows a member by."""
    return address_of(member) or member.get("fqdn") or f"{member.get('cluster_uuid')}/{member.get('vs_uuid')}"


def merge(current: Service | None, wish: t.Mapping[str, t.Any]) -> Service:
    """The service as it should be.

    :param current: None where there is none.
    :param wish: the module's options, checked by :func:`check_wish`.
    :raises NotFoundError: a member to switch or its group is not there.
    """
    new: Service = copy.deepcopy(current) if current else {"name": wish["name"], "groups": []}
    if not current and not wish["domain_names"]:
        raise NotFoundError(
            f"There is no GSLB service {wish['name']}", remedy="Check the name, or give domain_names to make it."
        )
    for option, field in PLAIN.items():
        if wish[option] is not None:
            new[field] = wish[option]
    if wish["pool_algorithm"]:
        new["pool_algorithm"] = ALGORITHMS[wish["pool_algorithm"]]
    if wish["down_response"]:
        new["down_response"] = _answer(new.get("down_response") or {}, wish["down_response"])
    if wish["health_monitors"] is not None and monitors(new) != set(wish["health_monitors"]):
        new["health_monitor_refs"] = [f"/api/healthmonitor?name={name}" for name in wish["health_monitors"]]
    _overlay(new, wish["extra"] or {})
    _groups(new, wish["groups"] or [])
    for member in wish["members"] or []:
        _member(new, member)
    return new


def _answer(there: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    answer = {name: value for name, value in there.items() if not name.startswith("fallback_")}
    answer["type"] = DOWN[given["type"]]
    if given.get("fallback_ip"):
        old = there.get("fallback_ip") or {}
        answer["fallback_ip"] = old if old.get("addr") == given["fallback_ip"] else _address(given["fallback_ip"])
    return answer


def _address(text: str) -> dict[str, str]:
    return {"addr": text, "type": "V6" if ":" in text else "V4"}


def _overlay(there: dict[str, t.Any], given: t.Mapping[str, t.Any]) -> None:
    """Fields without an option: dictionaries are merged, everything else replaced, null takes away."""
    for name, value in given.items():
        if value is None:
            there.pop(name, None)
        elif isinstance(value, dict) and isinstance(there.get(name), dict):
            _overlay(there[name], value)
        else:
            there[name] = copy.deepcopy(value)


def _groups(service: Service, given: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    for want in given:
        there = _group(service, want["name"])
        if want["state"] == ABSENT:
            service["groups"] = [group for group in service["groups"] if group is not there]
            continue
        if there is None:
            there = {"name": want["name"], "enabled": True, "members": []}
            service["groups"].append(there)
        _set(there, want, GROUP_FIELDS)


def _member(service: Service, want: t.Mapping[str, t.Any]) -> None:
    found = [(group, one) for group in service["groups"] for one in group["members"] if _is(one, want)]
    if want["group"] and found:
        inside = [(group, one) for group, one in found if group["name"] == want["group"]]
        if not inside and want["state"] != ABSENT:
            where = ", ".join(group["name"] for group, _one in found)
            raise InvalidSpecError(
                f"members: {label(want)} is in the group {where} of {service['name']}, not in {want['group']}",
                remedy="Leave group out, or remove the member from its group first (state=absent).",
            )
        found = inside
    if want["state"] == ABSENT:
        for group, one in found:
            group["members"] = [other for other in group["members"] if other is not one]
        return
    if not found:
        found = [(None, _new_member(service, want))]
    for _group_of, one in found:
        _set(one, want, MEMBER_FIELDS)


def _new_member(service: Service, want: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    names = [group["name"] for group in service["groups"]]
    if want["state"] == DISABLED and service.get("uuid"):
        there = ", ".join(label(one) for group in service["groups"] for one in group["members"])
        raise NotFoundError(
            f"{label(want)} is no member of the GSLB service {service['name']}, so it cannot be disabled",
            remedy=f"Its members are {there or 'none'}.",
        )
    if want["group"] is None and len(names) != 1:
        raise InvalidSpecError(
            f"members: {label(want)} is new to {service['name']}, and nothing says which group it belongs to",
            remedy=f"Give group; there are {', '.join(names) or 'none, so list it in groups, too'}.",
        )
    group = _group(service, want["group"] or names[0])
    if group is None:
        raise NotFoundError(
            f"The GSLB service {service['name']} has no group {want['group']}",
            remedy=f"List it in groups to make it; there are {', '.join(names) or 'none'}.",
        )
    made: dict[str, t.Any] = {"enabled": True}
    if want["ip"]:
        made["ip"] = _address(want["ip"])
    made.update({name: want[name] for name in ("fqdn", "cluster_uuid", "vs_uuid") if want[name]})
    group["members"] = [*group["members"], made]
    return made


def _set(there: dict[str, t.Any], want: t.Mapping[str, t.Any], fields: t.Sequence[str]) -> None:
    for name in fields:
        if want[name] is not None:
            there[name] = want[name]
    if want["state"] is not None:
        there["enabled"] = want["state"] == ENABLED


def _group(service: Service, name: str) -> dict[str, t.Any] | None:
    return next((group for group in service["groups"] if group["name"] == name), None)


def _is(one: t.Mapping[str, t.Any], want: t.Mapping[str, t.Any]) -> bool:
    """By virtual service where one is named, else by address, else by name."""
    if want["vs_uuid"]:
        return (one.get("cluster_uuid"), one.get("vs_uuid")) == (want["cluster_uuid"], want["vs_uuid"])
    if want["ip"]:
        return address_of(one) == want["ip"]
    return (one.get("fqdn") or "").lower().rstrip(".") == want["fqdn"].lower().rstrip(".")


# -- what a service says -----------------------------------------------------------------------------------------------


def monitors(service: Service) -> set[str]:
    """Names of its health monitors: refs were asked for with names behind a #."""
    refs = service.get("health_monitor_refs") or []
    return {ref.partition("#")[2] or ref.partition("?name=")[2] or ref.rpartition("/")[2] for ref in refs}


def serving(service: Service | None) -> list[str]:
    """Members that get traffic when they are healthy: they, their group and the service are enabled."""
    if not service or not service.get("enabled", True):
        return []
    return [
        label(member)
        for group in service["groups"]
        if group.get("enabled", True)
        for member in group["members"]
        if member.get("enabled", True)
    ]


def shown(service: Service | None) -> Service:
    """Without what the server adds."""
    return {name: value for name, value in (service or {}).items() if name not in SERVER}


def only_switches(before: Service | None, after: Service) -> bool:
    """Whether nothing but ``enabled`` of groups and members differs."""

    def bare(service: Service) -> Service:
        plain = copy.deepcopy(shown(service))
        for group in plain.get("groups") or []:
            group.pop("enabled", None)
            for member in group["members"]:
                member.pop("enabled", None)
        return plain

    return before is not None and bare(before) == bare(after)
