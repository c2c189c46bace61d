# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What one field alone cannot say, and the defaults that follow from other fields.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ._problems import MISSING, Problems
from ._rules_model import check_kind
from ._schema_policy import RESERVED

HTTP_DEFAULTS = {"path": "/", "scheme": "http", "status": 200}
BREAKER_WINDOW_S = 3600
#: Of a scrape job, what the group itself says.
SCRAPE_RESERVED = ("job_name", "scrape_interval", "file_sd_configs")
_HTTP_ONLY = (*HTTP_DEFAULTS, "contains", "regex", "validate_certs")
_VIP = re.compile(r"^(?P<address>[0-9.]+):(?P<port>[0-9]{1,5})$")

Full = dict[str, t.Any]


def fill_derived(full: Full) -> Full:
    """The defaults that follow from other fields: prefix, job, gates, window of the breaker.

    Leaves what has the wrong type alone.
    """
    name = full.get("name")
    for part, key in (("vm", "prefix"), ("monitoring", "job")):
        if isinstance(full.get(part), dict) and full[part].get(key) is None:
            full[part][key] = name
    balancer = full.get("load_balancer")
    if "gates" not in full and isinstance(balancer, dict):
        full["gates"] = [
            {
                "type": "http",
                "port": balancer.get("port"),
                "path": balancer.get("health_path"),
                "consecutive": 1,
                "timeout": 5,
            }
        ]
    gates = full.get("gates")
    for gate in gates if isinstance(gates, list) else []:
        if isinstance(gate, dict):
            _fill_gate(gate)
    breaker = full.get("breaker")
    if isinstance(breaker, dict) and breaker.get("window") is None:
        breaker["window"] = _breaker_window(full)
    return full


def _launches_until_open(full: Full) -> int:
    """Launches that follow one another until the breaker has counted enough failures."""
    return -(-full["breaker"]["failures"] // full["size"]["step_out"])


def _breaker_window(full: Full) -> int:
    """An hour, or longer where launches that fail, each with its cooldown and a timeout, would not fit into that."""
    try:
        gaps = _launches_until_open(full) - 1
        gap = full["cooldown"]["out"] + max(value for value in full["timeouts"].values() if value is not None)
        return max(BREAKER_WINDOW_S, int(2 * gaps * gap))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return BREAKER_WINDOW_S  # what these hold is wrong, and is reported as such


def _fill_gate(gate: Full) -> None:
    for key in _HTTP_ONLY:
        gate.setdefault(key, None)
    if gate.get("type") == "http":
        for key, value in HTTP_DEFAULTS.items():
            if gate[key] is None:
                gate[key] = value
        if gate["scheme"] == "https" and gate["validate_certs"] is None:
            gate["validate_certs"] = True


class _Look:
    """Values by path, ``None`` where the shape is already known to be wrong: no rule needs to speak of it again."""

    def __init__(self, full: Full, problems: Problems) -> None:
        self._full = full
        self._problems = problems

    def __call__(self, path: str) -> t.Any:
        if self._problems.touch(path):
            return None
        value: t.Any = self._full
        for part in path.split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value


def check_rules(full: Full, problems: Problems) -> None:
    """Add to *problems* whatever contradicts itself in *full*, which has its defaults."""
    look = _Look(full, problems)
    _check_reserved(look, problems)
    _check_policies(look, problems)
    _check_gates(look, problems)
    _check_size(look, problems)
    _check_network(look, problems)
    _check_base_members(look, problems)
    _check_scrape(look, problems)
    _check_breaker(full, look, problems)
    check_kind(look, problems)


def _check_reserved(look: _Look, problems: Problems) -> None:
    for index, policy in enumerate(look("policies") or []):
        if policy["type"] in RESERVED["policies[].type"]:
            problems.add(f"policies[{index}].type", policy["type"], "threshold", "reserved for a later version")


def _check_scrape(look: _Look, problems: Problems) -> None:
    for key in SCRAPE_RESERVED:
        value = (look("monitoring.scrape") or {}).get(key)
        if value is not None:
            problems.add(f"monitoring.scrape.{key}", value, "any other key of a scrape job", "the group itself says it")


def _check_policies(look: _Look, problems: Problems) -> None:
    policies = look("policies") or []
    thresholds = [index for index, policy in enumerate(policies) if policy["type"] == "threshold"]
    for index in thresholds[1:]:
        problems.add(f"policies[{index}].type", "threshold", "one threshold policy a group", "the second one")
    for index in thresholds:
        _check_thresholds(f"policies[{index}]", policies[index], problems)
    for index, policy in enumerate(policies):
        window, interval = policy["window"], look("monitoring.scrape_interval")
        if interval is not None and window < 2 * interval:
            allowed = f"at least twice monitoring.scrape_interval, which is {interval}: a rate needs two samples"
            problems.add(f"policies[{index}].window", window, allowed)


def _check_thresholds(where: str, policy: Full, problems: Problems) -> None:
    out, inward = policy["out"], policy["in"]
    if out is None and inward is None:
        problems.add(where, policy, "out, in or both", "asks for nothing")
    for word, side in (("out", out), ("in", inward)):
        if side is not None and side["cpu"] is None and side["memory"] is None:
            problems.add(f"{where}.{word}", side, "cpu, memory or both")
    if out is None or inward is None:
        return
    for metric in ("cpu", "memory"):
        high, low = out[metric], inward[metric]
        if high is not None and low is None and any(inward[key] is not None for key in ("cpu", "memory")):
            allowed = f"0 to less than {high}, as {where}.out.{metric} would make again what a scale-in took away"
            problems.add(f"{where}.in.{metric}", MISSING, allowed)
        elif high is not None and low is not None and low >= high:
            problems.add(f"{where}.in.{metric}", low, f"less than {where}.out.{metric}, which is {high}")


def _check_gates(look: _Look, problems: Problems) -> None:
    for index, gate in enumerate(look("gates") or []):
        where = f"gates[{index}]"
        if gate["type"] == "tcp":
            for key in _HTTP_ONLY:
                if gate[key] is not None:
                    problems.add(f"{where}.{key}", gate[key], "nothing for a tcp gate")
        elif gate["validate_certs"] is not None and gate["scheme"] != "https":
            problems.add(f"{where}.validate_certs", gate["validate_certs"], "only with scheme https")
        if gate["regex"] is not None:
            try:
                re.compile(gate["regex"])
            except re.error as error:
                problems.add(f"{where}.regex", gate["regex"], "a Python regular expression", str(error))


def _check_size(look: _Look, problems: Problems) -> None:
    low, high = look("size.min"), look("size.max")
    if low is not None and high is not None and low > high:
        problems.add("size.min", low, f"1 to size.max, which is {high}")
    base = look("base_members")
    if base is not None and high is not None and len(base) > high:
        problems.add("base_members", [row["name"] for row in base], f"at most size.max members, which is {high}")


def _address(look: _Look, problems: Problems, field: str) -> ipaddress.IPv4Address | None:
    value = look(field)
    return None if value is None else _parse_address(value, field, problems)


def _parse_address(value: str, field: str, problems: Problems) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(value)
    except ValueError:
        note = "IPv6 is reserved for a later version" if ":" in value else ""
        problems.add(field, value, "an IPv4 address", note)
        return None


def _subnet(look: _Look, problems: Problems) -> ipaddress.IPv4Network | None:
    value = look("network.cidr")
    if value is None:
        return None
    try:
        subnet = ipaddress.IPv4Network(value)
    except ValueError as error:
        note = "IPv6 is reserved for a later version" if value.count(":") > 1 else str(error)
        problems.add("network.cidr", value, "an IPv4 subnet such as 10.255.48.0/24, without host bits", note)
        return None
    if subnet.prefixlen > 30:
        problems.add("network.cidr", value, "a subnet with a prefix length of at most 30, which has room for a gateway")
        return None
    return subnet


def _check_inside(
    field: str, address: ipaddress.IPv4Address | None, subnet: ipaddress.IPv4Network | None, problems: Problems
) -> None:
    if address is None or subnet is None:
        return
    allowed = f"{subnet.network_address + 1} to {subnet.broadcast_address - 1} of network.cidr {subnet}"
    if address not in subnet:
        problems.add(field, str(address), allowed, "outside the subnet")
    elif address == subnet.network_address:
        problems.add(field, str(address), allowed, "the network address")
    elif address == subnet.broadcast_address:
        problems.add(field, str(address), allowed, "the broadcast address")


def _check_network(look: _Look, problems: Problems) -> None:
    subnet = _subnet(look, problems)
    start, end = (_address(look, problems, f"network.{key}") for key in ("start", "end"))
    gateway = _address(look, problems, "network.gateway")
    for key, address in (("start", start), ("end", end), ("gateway", gateway)):
        _check_inside(f"network.{key}", address, subnet, problems)
    taken: list[tuple[str, ipaddress.IPv4Address | None]] = [("network.gateway", gateway)]
    for index, value in enumerate(look("network.dns_servers") or []):
        field = f"network.dns_servers[{index}]"
        taken.append((field, _parse_address(value, field, problems)))
    vip = _vip(look, problems)
    for index, row in enumerate(look("base_members") or []):
        field = f"base_members[{index}].address"
        taken.append((field, _parse_address(row["address"], field, problems)))
    if start is None or end is None or problems.touch("network.start") or problems.touch("network.end"):
        return
    if start > end:
        problems.add("network.start", str(start), f"at most network.end, which is {end}")
        return
    for field, address in taken:
        if address is not None and start <= address <= end:
            problems.add(field, str(address), f"an address outside the pool {start} to {end}")
    # The VIP may lie in the pool, as it does in S1: it is never given out, and does not count as room.
    have = int(end) - int(start) + 1 - int(vip is not None and start <= vip <= end)
    _check_pool_size(look, have, problems)


def _vip(look: _Look, problems: Problems) -> ipaddress.IPv4Address | None:
    value = look("load_balancer.vip")
    if value is None:
        return None
    match = _VIP.match(value)
    if not match or not 1 <= int(match["port"]) <= 65535:
        problems.add("load_balancer.vip", value, "address:port, such as 10.255.48.229:80")
        return None
    return _parse_address(match["address"], "load_balancer.vip", problems)


def _check_pool_size(look: _Look, have: int, problems: Problems) -> None:
    high, base = look("size.max"), look("base_members")
    if high is None or base is None:
        return
    need = high - len(base)
    if have < need:
        pool = f"{look('network.start')} to {look('network.end')}"
        allowed = f"a pool of at least {need} addresses: size.max {high} less {len(base)} base members"
        problems.add("network.end", pool, allowed, f"{have} addresses that can be given out")


def _check_base_members(look: _Look, problems: Problems) -> None:
    seen: dict[str, set[str]] = {"name": set(), "address": set()}
    for index, row in enumerate(look("base_members") or []):
        for key, known in seen.items():
            if row[key] in known:
                problems.add(f"base_members[{index}].{key}", row[key], f"each {key} once", "a duplicate")
            known.add(row[key])


def _check_breaker(full: Full, look: _Look, problems: Problems) -> None:
    """A window in which the cooldown lets too few launches fail is a breaker that never opens."""
    fields = ("breaker.failures", "breaker.window", "cooldown.out", "size.step_out")
    if any(look(field) is None for field in fields):
        return
    rest = (_launches_until_open(full) - 1) * look("cooldown.out")
    if look("breaker.window") <= rest:
        allowed = f"more than {rest}, in which cooldown.out lets breaker.failures launches fail"
        problems.add("breaker.window", look("breaker.window"), allowed, "the breaker would never open")
