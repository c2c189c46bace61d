# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What one field of a recovery plan alone cannot say: what each kind of service has, what a pattern allows, order,
addresses.
"""

from __future__ import annotations

import difflib
import ipaddress
import typing as t

from ._problems import MISSING, Problems
from ._recovery_schema import ACTIONS, KIND_FIELDS
from ._rules import _Look

#: Pattern -> replications that it may have.
REPLICATION_OF = {
    "pilot_light": ("dump", "asynchronous"),
    "warm_standby": ("synchronous", "asynchronous"),
    "active_active": ("synchronous",),
}
_ALL_FIELDS = tuple(field for fields in KIND_FIELDS.values() for field in fields)

Full = dict[str, t.Any]


def fill_services(full: Full) -> Full:
    """Defaults that a service has by its kind, the epoch's scope, the drill's gateway; leaves alone what is wrong."""
    for service in full.get("services") if isinstance(full.get("services"), list) else []:
        fields = KIND_FIELDS.get(str(service.get("kind"))) if isinstance(service, dict) else None
        for field, default in (fields or {}).items():
            if service.get(field) is None:
                service[field] = None if default is ... else default
    if isinstance(full.get("epoch"), dict) and full["epoch"].get("scope") is None:
        full["epoch"]["scope"] = full.get("name")
    drill = full.get("drill")
    if isinstance(drill, dict) and drill.get("gateway") is None:
        subnet = _subnet(drill.get("cidr"))
        drill["gateway"] = str(subnet.network_address + 1) if subnet else None
    return full


def check_recovery(full: Full, problems: Problems) -> None:
    """Add to *problems* whatever contradicts itself in *full*, which has its defaults."""
    look = _Look(full, problems)
    _check_sites(look, problems)
    services = look("services") or []
    for index, service in enumerate(services):
        _check_kind(f"services[{index}]", service, problems)
        _check_pattern(f"services[{index}]", service, look, problems)
    _check_order(services, problems)
    _check_targets(services, look, problems)
    _check_traffic(look, problems)
    _check_drill(look, problems)
    _check_steps(services, look, problems)


def _check_sites(look: _Look, problems: Problems) -> None:
    primary, secondary = look("sites.primary"), look("sites.secondary")
    if primary and primary == secondary:
        problems.add("sites.secondary", secondary, "another site than sites.primary")
    if not primary or not secondary:
        return
    for field in ("check.hosts", "traffic.f5.members", "traffic.avi.members"):
        of_site = look(field)
        if of_site is None:
            continue
        for site in of_site:
            if site not in (primary, secondary):
                problems.add(f"{field}.{site}", of_site[site], f"the sites {primary} and {secondary}", "no such site")
        for site in (primary, secondary):
            if site not in of_site:
                problems.add(f"{field}.{site}", MISSING, "text")
        if primary in of_site and of_site[primary] == of_site.get(secondary):
            problems.add(f"{field}.{secondary}", of_site[secondary], f"another one than that of {primary}")


def _check_kind(where: str, service: Full, problems: Problems) -> None:
    own = KIND_FIELDS[service["kind"]]
    for field in _ALL_FIELDS:
        value = service.get(field)
        if field not in own and value is not None:
            problems.add(
                f"{where}.{field}", value, "only " + ", ".join(own), f"not of a service of kind {service['kind']}"
            )
        elif field in own and value is None:
            problems.add(f"{where}.{field}", MISSING, f"given for a service of kind {service['kind']}")


def _check_pattern(where: str, service: Full, look: _Look, problems: Problems) -> None:
    pattern = look("pattern")
    replication, serving, standby = (service.get(field) for field in ("replication", "serving", "standby"))
    if pattern is None or problems.touch(where):
        return
    if service["kind"] == "data" and replication not in REPLICATION_OF[pattern]:
        problems.add(
            f"{where}.replication", replication, f"{' or '.join(REPLICATION_OF[pattern])} for the pattern {pattern}"
        )
    if service["kind"] == "group":
        low, high = {"pilot_light": (0, min(1, serving)), "warm_standby": (1, serving)}.get(pattern, (serving, serving))
        if not low <= standby <= high:
            allowed = str(low) if low == high else f"{low} to {high}"
            problems.add(f"{where}.standby", standby, f"{allowed} for the pattern {pattern} and serving {serving}")


def _check_order(services: list[Full], problems: Problems) -> None:
    names: dict[str, int] = {}
    for index, service in enumerate(services):
        name = service["name"]
        if name in names:
            problems.add(f"services[{index}].name", name, f"another name, services[{names[name]}] has it already")
        names.setdefault(name, index)
    for index, service in enumerate(services):
        for place, needed in enumerate(service["needs"]):
            if needed not in names:
                close = difflib.get_close_matches(needed, names, n=1, cutoff=0.5)
                note = "no such service" + (f", did you mean {close[0]!r}?" if close else "")
                problems.add(f"services[{index}].needs[{place}]", needed, "one of " + ", ".join(names), note)
    circle = _circle({service["name"]: service["needs"] for service in services})
    if circle:
        problems.add(
            f"services[{names[circle[0]]}].needs", services[names[circle[0]]]["needs"],
            "services that need no other in turn", "a circle: " + " needs ".join([*circle, circle[0]]),
        )  # fmt: skip


def _circle(needs: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Names that need one another in turn; empty when there are none."""
    left = dict(needs)
    while True:
        free = [name for name, wants in left.items() if not any(want in left for want in wants)]
        if not free:
            break
        for name in free:
            del left[name]
    walk: list[str] = []
    name = next(iter(left), None)
    while name is not None and name not in walk:
        walk.append(name)
        name = next(want for want in left[name] if want in left)
    return walk[walk.index(name) :] if name is not None else []


def ordered(services: t.Sequence[t.Any]) -> tuple[t.Any, ...]:
    """*services* (values with name and needs) so that each stands behind what it needs; else as they were declared."""
    done: list[t.Any] = []
    left = list(services)
    while left:
        waiting = {service.name for service in left}
        chosen = next(service for service in left if not waiting & set(service.needs))
        done.append(chosen)
        left.remove(chosen)
    return tuple(done)


def _check_targets(services: list[Full], look: _Look, problems: Problems) -> None:
    rpo, rto, ttl = look("targets.rpo"), look("targets.rto"), look("traffic.ttl")
    late = [row["name"] for row in services if row["kind"] == "data" and row.get("replication") != "synchronous"]
    if rpo == 0 and late:
        problems.add("targets.rpo", 0, f"more than 0, as the replication of {', '.join(late)} is not synchronous")
    if rto is not None and ttl is not None and ttl >= rto:
        problems.add("traffic.ttl", ttl, f"less than targets.rto ({rto}), as clients keep an answer that long")


def _check_traffic(look: _Look, problems: Problems) -> None:
    kind = look("traffic.type")
    if kind and not problems.touch(f"traffic.{kind}") and look(f"traffic.{kind}") is None:
        problems.add(f"traffic.{kind}", MISSING, f"given for traffic.type {kind}")


def _subnet(text: t.Any) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text)
    except (TypeError, ValueError):
        return None


def _address(text: t.Any) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text)
    except (TypeError, ValueError):
        return None


def _check_drill(look: _Look, problems: Problems) -> None:
    if look("drill") is None:
        return
    cidr = look("drill.cidr")
    subnet = _subnet(cidr)
    if cidr is not None and subnet is None:
        problems.add("drill.cidr", cidr, "an IPv4 subnet, such as 10.9.0.0/24")
    found = {}
    for field in ("pool.start", "pool.end", "vip", "gateway"):
        value = look(f"drill.{field}")
        found[field] = _address(value)
        if value is None:
            continue
        if found[field] is None:
            problems.add(f"drill.{field}", value, "an IPv4 address")
        elif subnet is not None and found[field] not in subnet:
            problems.add(f"drill.{field}", value, f"an address of {cidr}")
    start, end = found["pool.start"], found["pool.end"]
    if start is None or end is None:
        return
    if start > end:
        problems.add("drill.pool.end", str(end), f"{start} or a later address")
        return
    for field in ("vip", "gateway"):
        if found[field] is not None and start <= found[field] <= end:
            problems.add(f"drill.{field}", str(found[field]), "an address outside drill.pool")
    groups = sum(service["kind"] == "group" for service in look("services") or [])
    room, wanted = int(end) - int(start) + 1, (look("drill.members") or 1) * groups
    if room < wanted:
        problems.add(
            "drill.pool.end", str(end), f"room for {wanted} members ({groups} groups), there is room for {room}"
        )


def _check_steps(services: list[Full], look: _Look, problems: Problems) -> None:
    for name in look("steps") or {}:
        action, _colon, service = name.partition(":")
        if action not in ACTIONS:
            close = difflib.get_close_matches(action, ACTIONS, n=1, cutoff=0.5)
            note = "no such action" + (f", did you mean {close[0]!r}?" if close else "")
            problems.add(f"steps.{name}", look("steps")[name], "one of " + ", ".join(ACTIONS), note)
        elif service and service not in [row["name"] for row in services]:
            names = ", ".join(f"{action}:{row['name']}" for row in services)
            problems.add(f"steps.{name}", look("steps")[name], f"{action} or one of {names}", "no such service")
