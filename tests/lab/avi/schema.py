# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of the objects, their defaults and limits. Refs are paths: ``/api/healthmonitor/healthmonitor-...``."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Mapping
from typing import Any

from .errors import invalid

PRIORITY = "GSLB_SERVICE_ALGORITHM_PRIORITY"
GEO = "GSLB_SERVICE_ALGORITHM_GEO"
ROUND_ROBIN = "GSLB_ALGORITHM_ROUND_ROBIN"
META = ("uuid", "url", "tenant_ref", "_last_modified")
ENUMS = {
    "pool_algorithm": (PRIORITY, GEO),
    "algorithm": (
        ROUND_ROBIN,
        "GSLB_ALGORITHM_CONSISTENT_HASH",
        "GSLB_ALGORITHM_GEO",
        "GSLB_ALGORITHM_TOPOLOGY",
        "GSLB_ALGORITHM_PREFERENCE_ORDER",
    ),
    "type": (
        "GSLB_SERVICE_DOWN_RESPONSE_NONE",
        "GSLB_SERVICE_DOWN_RESPONSE_ALL_RECORDS",
        "GSLB_SERVICE_DOWN_RESPONSE_FALLBACK_IP",
        "GSLB_SERVICE_DOWN_RESPONSE_EMPTY",
        "GSLB_SERVICE_DOWN_RESPONSE_CNAME",
    ),
}
LIMITS = {"priority": (0, 100), "ratio": (1, 20), "ttl": (0, 86400), "min_members": (0, 65535), "num_dns_ip": (0, 20)}
SERVICE = {
    "name": None,
    "description": None,
    "domain_names": None,
    "enabled": True,
    "pool_algorithm": PRIORITY,
    "groups": None,
    "health_monitor_refs": None,
    "health_monitor_scope": "GSLB_SERVICE_HEALTH_MONITOR_ALL_MEMBERS",
    "controller_health_status_enabled": True,
    "ttl": None,
    "min_members": 0,
    "num_dns_ip": None,
    "down_response": None,
    "is_federated": True,
    "site_persistence_enabled": False,
    "resolve_cname": False,
    "wildcard_match": False,
    "use_edns_client_subnet": True,
    "hm_off": False,
    "created_by": None,
    "markers": None,
}
GROUP = {
    "name": None,
    "description": None,
    "priority": 10,
    "enabled": True,
    "algorithm": ROUND_ROBIN,
    "fallback_algorithm": None,
    "manual_resume": False,
    "min_health_monitors_up": None,
    "consistent_hash_mask": None,
    "members": None,
}
MEMBER = {
    "enabled": True,
    "ip": None,
    "fqdn": None,
    "ratio": 1,
    "preference_order": 1,
    "cluster_uuid": None,
    "vs_uuid": None,
    "public_ip": None,
    "location": None,
    "description": None,
    "hostname": None,
    "resolve_fqdn_to_v6": False,
    "cloud_uuid": None,
}
MONITOR = {
    "name": None,
    "type": None,
    "description": None,
    "monitor_port": None,
    "send_interval": 10,
    "receive_timeout": 4,
    "successful_checks": 2,
    "failed_checks": 2,
    "is_federated": True,
    "http_monitor": None,
    "https_monitor": None,
    "tcp_monitor": None,
}


def _filled(what: str, body: Any, fields: Mapping[str, Any], required: tuple[str, ...] = ("name",)) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise invalid(f"{what}: an object is expected")
    unknown = sorted(set(body) - set(fields) - set(META))
    if unknown:
        raise invalid(f'Unrecognized field "{unknown[0]}" in {what}')
    for name in required:
        if body.get(name) in (None, "", []):
            raise invalid(f"{{'{name}': ['This field is required.']}}")
    for name, value in body.items():
        if name in ENUMS and name != "type" and value is not None and value not in ENUMS[name]:
            raise invalid(f"Invalid value for {name}: {value}")
        if name in LIMITS and value is not None:
            low, high = LIMITS[name]
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise invalid(f"{name} {value} is out of range: {low}-{high}")
        if isinstance(fields.get(name), bool) and not isinstance(value, bool):
            raise invalid(f"{name} must be a boolean")
    full = {name: copy.deepcopy(value) for name, value in fields.items() if value is not None}
    full.update({name: copy.deepcopy(value) for name, value in body.items() if value is not None})
    return full


def key_of(member: Mapping[str, Any]) -> str:
    """What a member is known by: virtual service at a site, address, or name."""
    if member.get("vs_uuid"):
        return f"{member.get('cluster_uuid')}:{member['vs_uuid']}"
    return str((member.get("ip") or {}).get("addr") or member.get("fqdn") or "")


def service(body: Any, domains: list[str]) -> dict[str, Any]:
    """A whole GslbService from what a client sent.

    :param domains: of the federation; a name must lie below one of them.
    """
    full = _filled("GslbService", body, SERVICE, ("name", "domain_names"))
    for name in full["domain_names"]:
        if not any(name.lower() == domain or name.lower().endswith("." + domain) for domain in domains):
            raise invalid(f"Domain name {name} is not a sub-domain of the Gslb DNS configs {', '.join(domains)}")
    answer = full.get("down_response")
    if answer is not None and answer.get("type") not in ENUMS["type"]:
        raise invalid(f"Invalid value for type: {answer.get('type')}")
    full["groups"] = [_group(group) for group in full.get("groups") or []]
    names = [group["name"] for group in full["groups"]]
    if len(set(names)) != len(names):
        raise invalid("Gslb pool names have to be unique within a Gslb service")
    keys = [key_of(member) for group in full["groups"] for member in group["members"]]
    if len(set(keys)) != len(keys):
        raise invalid("Duplicate Gslb pool member in Gslb service")
    return full


def _group(body: Any) -> dict[str, Any]:
    full = _filled("GslbPool", body, GROUP)
    full["members"] = [_member(member) for member in full.get("members") or []]
    return full


def _member(body: Any) -> dict[str, Any]:
    full = _filled("GslbPoolMember", body, MEMBER, ())
    if not key_of(full):
        raise invalid("Gslb pool member needs an IP, an FQDN or a virtual service")
    address = (full.get("ip") or {}).get("addr")
    if address is not None:
        try:
            full["ip"] = {"addr": address, "type": f"V{ipaddress.ip_address(address).version}"}
        except ValueError:
            raise invalid(f"Invalid IP address {address}") from None
    return full


def monitor(body: Any) -> dict[str, Any]:
    """A whole HealthMonitor."""
    return _filled("HealthMonitor", body, MONITOR, ("name", "type"))


def only_switched(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether *new* differs from *old* in ``enabled`` of groups and members only."""

    def bare(one: Mapping[str, Any]) -> dict[str, Any]:
        plain = copy.deepcopy(dict(one))
        plain.pop("_last_modified", None)
        for group in plain.get("groups") or []:
            group.pop("enabled", None)
            for member in group.get("members") or []:
                member.pop("enabled", None)
        return plain

    return bare(old) == bare(new)
