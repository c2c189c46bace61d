# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The shape of a recovery plan as JSON Schema 2020-12; ``docs/schemas/recovery_plan.schema.json`` is its dump. What one
field alone cannot say stands in :mod:`_recovery_rules`.
"""

from __future__ import annotations

import typing as t

from ._schema_fields import _choice, _field, _list, _object, _port, _seconds, _text, _whole

PATTERNS = ("pilot_light", "warm_standby", "active_active")
KINDS = ("data", "models", "settings", "group")
REPLICATIONS = ("synchronous", "asynchronous", "dump")

#: What a kind of service has besides name, kind and needs: field -> its default; ... where it must be given.
KIND_FIELDS: dict[str, dict[str, t.Any]] = {
    "data": {"data": "vectors", "store": ..., "replication": ...},
    "models": {"project": ..., "filter": "**", "max_age": 86400},
    "settings": {"folder": ..., "max_age": 86400},
    "group": {"group": ..., "serving": ..., "standby": ...},
}

#: Actions of steps: seconds that one may take, seconds that it is expected to take.
ACTIONS: dict[str, tuple[int, int]] = {
    "ready": (120, 10),
    "epoch": (120, 5),
    "data": (600, 30),
    "models": (900, 20),
    "settings": (300, 15),
    "group": (1800, 120),
    "verify": (300, 10),
    "traffic_on": (300, 15),
    "traffic_off": (300, 15),
    "served": (300, 15),
    "standby": (1800, 120),
    "reprotect": (3600, 300),
    "drill_data": (1800, 120),
    "drill_group": (1800, 180),
    "drill_vip": (300, 10),
    "drill_check": (300, 10),
    "drill_clean": (1800, 60),
    "backup_data": (3600, 300),
    "backup_models": (3600, 300),
    "backup_settings": (600, 30),
}

_NAME = r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$"


def _of_sites(title: str, description: str, example: dict[str, str]) -> dict[str, t.Any]:
    """A text for each of the two sites."""
    value = {
        "type": "string",
        "minLength": 1,
        "title": title,
        "description": "Of one site.",
        "examples": ["192.0.2.10"],
    }
    return {
        "type": "object",
        "title": title,
        "description": description,
        "additionalProperties": value,
        "examples": [example],
    }


_SERVICE = _object(
    "Service",
    "One part of what is recovered. `kind` says which of the fields it has.",
    {
        "name": _text("Name", "Unique in the plan; part of the names of steps.", "database", pattern=_NAME),
        "kind": _choice(
            "Kind", "data: a database; models: a Harbor project; settings: files in Git; group: a scaling group.",
            list(KINDS),
        ),
        "needs": _list(
            "Needs", "Services that must be back before this one.", _text("Service", "Its name.", "database"),
            ["database"], default=[], uniqueItems=True,
        ),
        "data": _field(
            ["string", "null"], "Data", "data only: what it holds. Without it, vectors.", None, ["vectors"],
            enum=["vectors", "application", None],
        ),
        "store": _text("Store", "data only: name of the database's declaration.", "demo", None),
        "replication": _field(
            ["string", "null"], "Replication",
            "data only. synchronous and asynchronous: DSM's replication; dump: the newest dump of dr_backup.",
            None, ["synchronous"], enum=[*REPLICATIONS, None],
        ),
        "project": _text("Project", "models only: the Harbor project.", "models", None),
        "filter": _text("Filter", "models only: which repositories. Without it, all.", "llama/**", None),
        "folder": _text("Folder", "settings only: where the files are kept.", "settings/shop", None),
        "max_age": _whole(
            "Maximum age", "models and settings only: how old the newest copy may be, in seconds. Without it, a day.",
            86400, 60, 31536000, None,
        ),
        "group": _text("Group", "group only: name of the scaling group; both sites declare it.", "web", None),
        "serving": _whole("Serving", "group only: members at the site that serves.", 2, 1, 1000, None),
        "standby": _whole("Standby", "group only: members at the other site.", 1, 0, 1000, None),
    },
    {"name": "web", "kind": "group", "group": "web", "serving": 2, "standby": 1, "needs": ["database"]},
    required=("name", "kind"),
)  # fmt: skip

_TRAFFIC = _object(
    "Traffic",
    "The GSLB object that leads clients to a site.",
    {
        "type": _choice("Type", "f5: BIG-IP DNS; avi: NSX ALB.", ["f5", "avi"]),
        "name": _text("Name", "The host name that clients ask for.", "www.shop.example"),
        "f5": _object(
            "F5", "With type f5: the GSLB pool.",
            {
                "pool": _text("Pool", "Name of the pool.", "shop"),
                "type": _choice("Type", "Record type of the pool.", ["a", "aaaa", "cname"], "a"),
                "partition": _text("Partition", "Partition of the pool.", "Common", "Common"),
                "members": _of_sites(
                    "Members", "The member of each site, server:virtual server.",
                    {"a": "site-a:shop-vip", "b": "site-b:shop-vip"},
                ),
            },
            {"pool": "shop", "members": {"a": "site-a:shop-vip", "b": "site-b:shop-vip"}},
            default=None, required=("pool", "members"), nullable=True,
        ),
        "avi": _object(
            "Avi", "With type avi: the GSLB service.",
            {
                "service": _text("Service", "Name of the service.", "shop"),
                "members": _of_sites(
                    "Members", "The address of each site's member.", {"a": "192.0.2.10", "b": "198.51.100.10"}
                ),
            },
            {"service": "shop", "members": {"a": "192.0.2.10", "b": "198.51.100.10"}},
            default=None, required=("service", "members"), nullable=True,
        ),
        "resolvers": _list(
            "Resolvers", "Name servers that are asked whether an answer has changed: those of the GSLB.",
            _object(
                "Resolver", "One name server.",
                {
                    "address": _text("Address", "Its address.", "192.0.2.53"),
                    "port": _port("Port", "Its port.", 53, 53),
                },
                {"address": "192.0.2.53", "port": 53}, required=("address",),
            ),
            [{"address": "192.0.2.53", "port": 53}], minItems=1,
        ),
        "ttl": _seconds("TTL", "How long clients keep an answer.", 30, 0, 86400),
    },
    {"type": "f5", "name": "www.shop.example", "resolvers": [{"address": "192.0.2.53"}],
     "f5": {"pool": "shop", "members": {"a": "site-a:shop-vip", "b": "site-b:shop-vip"}}},
    required=("type", "name", "resolvers"),
)  # fmt: skip

_CHECK = _object(
    "Check",
    "How a site itself is asked, past GSLB.",
    {
        "path": _text("Path", "Path of the page.", "/health", "/", pattern="^/"),
        "port": _port("Port", "Port of the site's virtual server.", 80, 80),
        "hosts": _of_sites("Hosts", "Address of each site.", {"a": "192.0.2.10", "b": "198.51.100.10"}),
        "status": _whole("Status", "Status code that is healthy.", 200, 100, 599, 200),
    },
    {"path": "/health", "port": 80, "hosts": {"a": "192.0.2.10", "b": "198.51.100.10"}, "status": 200},
    required=("hosts",),
)

_DRILL = _object(
    "Drill",
    "Where a drill takes place, apart from production. Without it, there is no drill.",
    {
        "network": _text("Network", "Port group that leads nowhere.", "isolated"),
        "pool": _object(
            "Pool", "Addresses of the drill's members.",
            {
                "start": _text("Start", "First address.", "10.9.0.10"),
                "end": _text("End", "Last address.", "10.9.0.19"),
            },
            {"start": "10.9.0.10", "end": "10.9.0.19"}, required=("start", "end"),
        ),
        "cidr": _text("CIDR", "Subnet of the pool.", "10.9.0.0/24"),
        "gateway": _text("Gateway", "Default gateway; without it, the subnet's first address.", "10.9.0.1", None),
        "members": _whole("Members", "Members of each group.", 1, 1, 100, 1),
        "vip": _text("VIP", "Address of the throw-away virtual server.", "10.9.0.5"),
        "port": _port("Port", "Its port.", 80, 80),
    },
    {"network": "isolated", "pool": {"start": "10.9.0.10", "end": "10.9.0.19"}, "cidr": "10.9.0.0/24",
     "vip": "10.9.0.5"},
    required=("network", "pool", "cidr", "vip"), default=None, nullable=True,
)  # fmt: skip

_STEP = _object(
    "Step",
    "What differs from the defaults in the steps of one action.",
    {
        "timeout": _seconds("Timeout", "How long it may take.", None),
        "expected": _seconds("Expected", "How long it is planned to take; the report compares.", None),
        "gate": _field(
            ["string", "null"], "Gate", "manual: the run waits until a person approves. Without it, none.", None,
            ["manual"], enum=["none", "manual", None],
        ),
    },
    {"timeout": 600, "gate": "manual"},
)  # fmt: skip

SCHEMA: dict[str, t.Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        "Recovery plan",
        "A service that lives at two sites, as onprem.autoscale recovers it.",
        {
            "name": _text("Name", "Name of the plan; part of reports' names.", "shop", pattern=_NAME, maxLength=63),
            "pattern": _choice(
                "Pattern", "How much of the second site runs before it is needed: least, some, all.", list(PATTERNS)
            ),
            "sites": _object(
                "Sites", "The two sites, by their names in `autoscale_sites`.",
                {
                    "primary": _text("Primary", "The site that serves on a normal day.", "a", pattern=_NAME),
                    "secondary": _text("Secondary", "The other one.", "b", pattern=_NAME),
                },
                {"primary": "a", "secondary": "b"}, required=("primary", "secondary"),
            ),
            "targets": _object(
                "Targets", "What is promised.",
                {
                    "rto": _whole("RTO", "Seconds from the loss of the service until it is back.", 300, 1, 604800),
                    "rpo": _whole("RPO", "Seconds of data that may be lost.", 60, 0, 604800),
                },
                {"rto": 300, "rpo": 60}, required=("rto", "rpo"),
            ),
            "services": _list(
                "Services", "What is recovered, in any order.", _SERVICE, [_SERVICE["examples"][0]], minItems=1
            ),
            "traffic": _TRAFFIC,
            "check": _CHECK,
            "outage": _object(
                "Outage", "The series that tells when the service was lost and came back.",
                {
                    "selector": _text(
                        "Selector", "A PromQL selector; 1 is a success.", 'probe_success{job="shop"}'
                    ),
                    "lookback": _seconds("Lookback", "How far back it is read.", 3600, 60, 604800),
                },
                {"selector": 'probe_success{job="shop"}', "lookback": 3600}, required=("selector",),
            ),
            "epoch": _object(
                "Epoch", "The fencing token of the scaling groups.",
                {"scope": _text("Scope", "Its name; without it, the plan's.", "shop", None, pattern=_NAME)},
                {"scope": "shop"}, default={},
            ),
            "drill": _DRILL,
            "steps": {
                "type": "object", "title": "Steps", "default": {}, "examples": [{"traffic_on": {"gate": "manual"}}],
                "description": "By action, such as data, or by step, such as data:database: what differs.",
                "additionalProperties": _STEP,
            },
        },
        {},
        required=("name", "pattern", "sites", "targets", "services", "traffic", "check", "outage"),
    ),
}  # fmt: skip
SCHEMA["examples"] = [
    {
        "name": "shop",
        "pattern": "warm_standby",
        "services": [
            {"name": "database", "kind": "data", "store": "demo", "replication": "synchronous"},
            {"name": "web", "kind": "group", "group": "web", "serving": 2, "standby": 1, "needs": ["database"]},
        ],
        **{key: SCHEMA["properties"][key]["examples"][0] for key in ("sites", "targets", "traffic", "check", "outage")},
    }
]
