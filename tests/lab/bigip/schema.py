# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of the objects: defaults, what may be written, what is only ever computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .errors import invalid_value, unknown_property

# A client that writes back what it read sends these along; the device does not mind.
ECHOED = frozenset(
    {"kind", "selfLink", "fullPath", "generation", "name", "partition", "subPath", "creationTime", "lastModifiedTime"}
)
SESSIONS = ("user-enabled", "user-disabled")
STATES = ("user-up", "user-down")
SWITCH = ("enabled", "disabled")


@dataclasses.dataclass(frozen=True)
class Schema:
    """Properties of one type of object.

    ``defaults`` are always read back; ``optional`` only when set (``none`` and an empty string unset them); ``choices``
    limits values; ``fixed`` may be written at creation only; an ``open`` type takes any other property as it comes.
    """

    defaults: Mapping[str, Any]
    optional: frozenset[str] = frozenset({"description", "metadata"})
    choices: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    open: bool = False

    def clean(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What *body* sets, checked and in the right types; ``None`` unsets.

        :raises ApiError: 400 for an unknown property or a value that is not allowed.
        """
        result: dict[str, Any] = {}
        for name, value in body.items():
            if name in ECHOED or name.endswith("Reference"):
                continue
            if name not in self.defaults and name not in self.optional and not self.open:
                raise unknown_property(name)
            if name in self.choices and value not in self.choices[name]:
                raise invalid_value(name, value)
            default = self.defaults.get(name)
            if isinstance(default, int) and not isinstance(default, bool):
                value = self._whole(name, value)
            if name not in self.defaults and value in ("none", ""):
                value = None
            result[name] = value
        return result

    @staticmethod
    def _whole(name: str, value: Any) -> int:
        if isinstance(value, bool):
            raise invalid_value(name, value)
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise invalid_value(name, value) from None
        if number < 0:
            raise invalid_value(name, value)
        return number


POOL = Schema(
    defaults={
        "allowNat": "yes",
        "allowSnat": "yes",
        "ignorePersistedWeight": "disabled",
        "ipTosToClient": "pass-through",
        "ipTosToServer": "pass-through",
        "linkQosToClient": "pass-through",
        "linkQosToServer": "pass-through",
        "loadBalancingMode": "round-robin",
        "minActiveMembers": 0,
        "minUpMembers": 0,
        "minUpMembersAction": "failover",
        "minUpMembersChecking": "disabled",
        "queueDepthLimit": 0,
        "queueOnConnectionLimit": "disabled",
        "queueTimeLimit": 0,
        "reselectTries": 0,
        "serviceDownAction": "none",
        "slowRampTime": 10,
    },
    optional=frozenset({"description", "metadata", "monitor", "appService"}),
    choices={
        "loadBalancingMode": (
            "round-robin",
            "ratio-member",
            "ratio-node",
            "least-connections-member",
            "least-connections-node",
        ),
        "serviceDownAction": ("none", "reset", "drop", "reselect"),
    },
)

MEMBER = Schema(
    defaults={
        "connectionLimit": 0,
        "dynamicRatio": 1,
        "inheritProfile": "enabled",
        "logging": "disabled",
        "monitor": "default",
        "priorityGroup": 0,
        "rateLimit": "disabled",
        "ratio": 1,
        "session": "user-enabled",
        "state": "user-up",
    },
    optional=frozenset({"description", "metadata", "address", "ephemeral", "fqdn", "profiles", "appService"}),
    choices={"session": SESSIONS, "state": STATES, "inheritProfile": SWITCH, "logging": SWITCH},
    fixed=frozenset({"address", "ephemeral", "fqdn"}),
)

NODE = Schema(
    defaults={
        "connectionLimit": 0,
        "dynamicRatio": 1,
        "logging": "disabled",
        "monitor": "default",
        "rateLimit": "disabled",
        "ratio": 1,
        "session": "user-enabled",
        "state": "user-up",
    },
    optional=frozenset({"description", "metadata", "address", "ephemeral", "fqdn", "appService"}),
    choices={"session": SESSIONS, "state": STATES, "logging": SWITCH},
    fixed=frozenset({"address", "ephemeral", "fqdn"}),
)

VIRTUAL = Schema(
    defaults={
        "addressStatus": "yes",
        "autoLasthop": "default",
        "connectionLimit": 0,
        "ipProtocol": "tcp",
        "mask": "255.255.255.255",
        "mirror": "disabled",
        "serviceDownImmediateAction": "none",
        "source": "0.0.0.0/0",
        "sourceAddressTranslation": {"type": "none"},
        "sourcePort": "preserve",
        "translateAddress": "enabled",
        "translatePort": "enabled",
    },
    optional=frozenset({"description", "metadata", "destination", "pool", "persist", "profiles", "enabled"}),
    open=True,
)

_MONITOR = {
    "adaptive": "disabled",
    "destination": "*:*",
    "interval": 5,
    "manualResume": "disabled",
    "timeUntilUp": 0,
    "timeout": 16,
    "transparent": "disabled",
    "upInterval": 0,
}
_MONITOR_OPTIONAL = frozenset({"description", "recv", "recvDisable", "username", "password", "defaultsFrom"})
_TEXT = {**_MONITOR, "ipDscp": 0, "reverse": "disabled"}
_HTTP = {**_TEXT, "send": "GET /\\r\\n"}

MONITORS = {
    "http": Schema(defaults=_HTTP, optional=_MONITOR_OPTIONAL, open=True),
    "https": Schema(defaults=_HTTP, optional=_MONITOR_OPTIONAL, open=True),
    "tcp": Schema(defaults=_TEXT, optional=_MONITOR_OPTIONAL | {"send"}, open=True),
    "tcp-half-open": Schema(defaults=_MONITOR, optional=_MONITOR_OPTIONAL, open=True),
    "gateway-icmp": Schema(defaults=_MONITOR, optional=_MONITOR_OPTIONAL, open=True),
}
BUILT_IN_MONITORS = {
    "http": "http",
    "https": "https",
    "tcp": "tcp",
    "tcp-half-open": "tcp_half_open",
    "gateway-icmp": "gateway_icmp",
}
