# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of the objects of BIG-IP DNS (GTM): defaults, what may be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import invalid_value
from .schema import MONITORS as LTM_MONITORS
from .schema import SWITCH, Schema

TYPES = ("a", "aaaa")
_TEXT = frozenset({"description", "metadata"})
_LIMITS = {
    "limitMaxBps": 0,
    "limitMaxBpsStatus": "disabled",
    "limitMaxConnections": 0,
    "limitMaxConnectionsStatus": "disabled",
    "limitMaxPps": 0,
    "limitMaxPpsStatus": "disabled",
}

DATACENTER = Schema(
    defaults={"proberFallback": "any-available", "proberPreference": "inside-datacenter"},
    optional=_TEXT | {"contact", "location", "proberPool"},
)

SERVER = Schema(
    defaults={
        "exposeRouteDomains": "no",
        "iqAllowPath": "yes",
        "iqAllowServiceCheck": "yes",
        "iqAllowSnmp": "yes",
        "limitCpuUsage": 0,
        "limitCpuUsageStatus": "disabled",
        "limitMemAvail": 0,
        "limitMemAvailStatus": "disabled",
        **_LIMITS,
        "linkDiscovery": "disabled",
        "product": "bigip",
        "proberFallback": "inherit",
        "proberPreference": "inherit",
        "virtualServerDiscovery": "disabled",
    },
    optional=_TEXT | {"addresses", "datacenter", "devices", "monitor", "proberPool"},
)

VIRTUAL = Schema(
    defaults={
        "explicitLinkName": "none",
        **_LIMITS,
        "ltmName": "none",
        "translationAddress": "none",
        "translationPort": 0,
    },
    optional=_TEXT | {"dependsOn", "destination", "monitor"},
)

POOL = Schema(
    defaults={
        "alternateMode": "round-robin",
        "dynamicRatio": "disabled",
        "fallbackIp": "any",
        "fallbackMode": "return-to-dns",
        **_LIMITS,
        "loadBalancingMode": "round-robin",
        "manualResume": "disabled",
        "maxAnswersReturned": 1,
        "monitor": "default",
        "qosHitRatio": 5,
        "qosHops": 0,
        "qosKilobytesSecond": 3,
        "qosLcs": 30,
        "qosPacketRate": 1,
        "qosRtt": 50,
        "qosTopology": 0,
        "qosVsCapacity": 0,
        "qosVsScore": 0,
        "ttl": 30,
        "verifyMemberAvailability": "enabled",
    },
    optional=_TEXT,
    choices={
        # The static modes; those that measure (rtt, qos, topology ...) have nothing to measure here.
        "loadBalancingMode": ("round-robin", "ratio", "global-availability", "fallback-ip", "return-to-dns"),
        "alternateMode": ("round-robin", "ratio", "global-availability", "fallback-ip", "return-to-dns", "none"),
        "fallbackMode": ("round-robin", "ratio", "global-availability", "fallback-ip", "return-to-dns", "none"),
        "verifyMemberAvailability": SWITCH,
    },
)

MEMBER = Schema(
    defaults={**_LIMITS, "memberOrder": 0, "monitor": "default", "ratio": 1, "staticTarget": "no"},
    optional=_TEXT,
)

WIDEIP = Schema(
    defaults={
        "failureRcode": "noerror",
        "failureRcodeResponse": "disabled",
        "failureRcodeTtl": 0,
        "lastResortPool": "",
        "minimalResponse": "enabled",
        "persistCidrIpv4": 32,
        "persistCidrIpv6": 128,
        "persistence": "disabled",
        "poolLbMode": "round-robin",
        "ttlPersistence": 3600,
    },
    optional=_TEXT | {"aliases", "pools", "rules"},
    choices={"poolLbMode": ("round-robin", "ratio", "global-availability"), "persistence": ("disabled",)},
)

_MONITOR = {
    "destination": "*:*",
    "ignoreDownResponse": "disabled",
    "interval": 30,
    "probeTimeout": 5,
    "timeout": 120,
    "transparent": "disabled",
}
_HTTP = {**_MONITOR, "reverse": "disabled", "send": "GET /"}
MONITORS = {
    "http": Schema(defaults=_HTTP, optional=LTM_MONITORS["http"].optional, open=True),
    "https": Schema(defaults=_HTTP, optional=LTM_MONITORS["https"].optional, open=True),
    "tcp": Schema(
        defaults={**_MONITOR, "reverse": "disabled"}, optional=LTM_MONITORS["tcp"].optional | {"send"}, open=True
    ),
    # What iQuery tells of a BIG-IP's virtual servers is asked with a connection here.
    "bigip": Schema(defaults=_MONITOR, optional=LTM_MONITORS["tcp"].optional, open=True),
}


def switched(body: Mapping[str, Any]) -> tuple[dict[str, Any], bool | None]:
    """*body* without its two switches, and what they say: ``enabled`` or ``disabled`` alone, or both of them.

    :raises ApiError: 400 when they contradict each other.
    """
    rest = {name: value for name, value in body.items() if name not in ("enabled", "disabled")}
    said = {bool(body["enabled"])} if body.get("enabled") is not None else set()
    if body.get("disabled") is not None:
        said.add(not body["disabled"])
    if len(said) > 1:
        raise invalid_value("disabled", body["disabled"])
    return rest, said.pop() if said else None
