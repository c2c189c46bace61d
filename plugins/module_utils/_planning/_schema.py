# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The shape of a scaling group's declaration as JSON Schema 2020-12. ``docs/schemas/scaling_group.schema.json`` is its
dump, for editors. What one field alone cannot say (``min <= max``) stands in :mod:`_rules`.

What asks for scaling stands in :mod:`_schema_policy`, what only a model endpoint has in :mod:`_schema_model`.
"""

from __future__ import annotations

import typing as t

from ._schema_fields import _choice, _field, _flag, _list, _object, _port, _seconds, _text, _whole
from ._schema_model import MODEL, TIMEOUTS
from ._schema_policy import POLICY

#: `<prefix>-YYYYMMDDHHMMSS-NNN` has to stay a valid host name of at most 63 characters.
PREFIX_MAX = 63 - len("-YYYYMMDDHHMMSS") - len("-NNN")

_HOST = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"
_VM_NAME = r"^[^%/\\]+$"


_SIZE = _object(
    "Size",
    "How many members there may be, base members included.",
    {
        # Without a member there is no metric, so nothing could ever ask for the first one: min is at least 1.
        "min": _whole("Minimum", "Scale-in never leaves fewer members in service.", 2, 1, 1000),
        "max": _whole(
            "Maximum", "Scale-out never makes more, in any power state, clones in flight included.", 4, 1, 1000
        ),
        "step_out": _whole("Step out", "Members that one scale-out adds.", 1, 1, 100, 1),
        "step_in": _whole("Step in", "Members that one scale-in removes.", 1, 1, 100, 1),
    },
    {"min": 2, "max": 4, "step_out": 1, "step_in": 1},
    required=("min", "max"),
)

_COOLDOWN = _object(
    "Cooldown",
    "How long each direction rests after an action, or after a refusal at a bound; the two are independent.",
    {
        "out": _seconds("Out", "Rest after a scale-out.", 300, 0),
        "in": _seconds("In", "Rest after a scale-in.", 300, 0),
    },
    {"out": 300, "in": 300},
    default={},
)

_GATE = _object(
    "Gate",
    "One test that a new member must pass before it takes traffic.",
    {
        "type": _choice("Type", "http asks for a page, tcp opens a connection.", ["http", "tcp"]),
        "port": _port("Port", "Port on the member.", 8080),
        "path": _text("Path", "Path of the page; http only. Without it, /.", "/health", None, pattern="^/"),
        "scheme": _field(
            ["string", "null"], "Scheme", "http only. Without it, http.", None, ["http"], enum=["http", "https", None]
        ),
        "status": _whole("Status", "Status code that is healthy; http only. Without it, 200.", 200, 100, 599, None),
        "contains": _text("Contains", "Text that the body must contain; http only.", "ok", None),
        "regex": _text(
            "Regex", "Python regular expression that must be found in the body; http only.", "ok|ready", None
        ),
        "validate_certs": _field(
            ["boolean", "null"], "Validate certificates", "https only. Without it, true.", None, [True]
        ),
        "consecutive": _whole("Consecutive", "Passes in a row that are needed.", 2, 1, 100, 1),
        "timeout": _seconds("Timeout", "How long one attempt may take.", 5, 1, 300),
    },
    {"type": "http", "port": 8080, "path": "/health", "status": 200, "consecutive": 2},
    required=("type", "port"),
)

_VM = _object(
    "VM",
    "What the members are cloned from, and where to.",
    {
        "template": _text("Template", "Name or inventory path of the template.", "web-template"),
        "prefix": _text(
            "Prefix", "Names are <prefix>-YYYYMMDDHHMMSS[-N], UTC. Without it, the group's name.", "web", None,
            pattern=_HOST, maxLength=PREFIX_MAX,
        ),
        "datacenter": _text("Datacenter", "Name of the datacenter; null where there is only one.", "DC0", None),
        "folder": _text("Folder", "Inventory path of the VM folder; null is the template's.", "DC0/vm", None),
        "cluster": _text("Cluster", "Cluster to place on.", "C0", None),
        "resource_pool": _text("Resource pool", "Resource pool to place in.", "C0/Resources/web", None),
        "datastore": _text("Datastore", "Datastore to place on; null is the template's.", "ds0", None),
        "host": _text("Host", "ESXi host to place on.", "esx1.example.org", None),
        "customization": _choice(
            "Customization", "How the guest gets its name and address.", ["linuxprep", "cloudinit", "none"], "linuxprep"
        ),
        "cpus": _whole("CPUs", "Virtual CPUs; null keeps the template's.", 2, 1, 768, None),
        "memory_mb": _whole("Memory", "Memory in MiB; null keeps the template's.", 4096, 128, 25165824, None),
    },
    {"template": "web-template", "prefix": "web", "datacenter": "DC0"},
    required=("template",),
)  # fmt: skip

_PROBE = _object(
    "Probe",
    "How an address is asked whether somebody uses it; an address that answers is never leased.",
    {
        "methods": _list(
            "Methods",
            "tcp_open: a port accepts; tcp_refused: a port refuses, so a host is there; ping: ICMP. Empty: no probe.",
            _choice("Method", "One way to ask.", ["tcp_open", "tcp_refused", "ping"]),
            ["tcp_open", "ping"],
            default=["tcp_open", "tcp_refused", "ping"],
            uniqueItems=True,
        ),
        "ports": _list(
            "Ports", "Ports that the tcp methods try.", _port("Port", "A TCP port.", 22), [22, 80, 443],
            default=[22, 80, 443], uniqueItems=True,
        ),
        "timeout": _field(
            "number", "Timeout", "How long to wait for an answer. In seconds.", 1, [1], exclusiveMinimum=0, maximum=60
        ),
    },
    {"methods": ["tcp_open", "ping"], "ports": [22], "timeout": 1},
    default={},
)  # fmt: skip

_NETWORK = _object(
    "Network",
    "Where the members live and which addresses they may have. IPv4.",
    {
        "name": _text("Name", "Port group.", "VM Network"),
        "vlan": _whole("VLAN", "VLAN number; kept as information.", 1048, 0, 4094, None),
        "start": _text("Start", "First address of the pool.", "10.255.48.220"),
        "end": _text("End", "Last address of the pool.", "10.255.48.230"),
        "cidr": _text("CIDR", "Subnet of the pool.", "10.255.48.0/24"),
        "gateway": _text("Gateway", "Default gateway; inside the subnet and outside the pool.", "10.255.48.1"),
        "dns_servers": _list(
            "DNS servers", "Name servers of the members.", _text("Server", "An address.", "10.255.48.2"),
            ["10.255.48.2"], default=[], uniqueItems=True,
        ),
        "domain": _text("Domain", "DNS domain of the members.", "example.org", ""),
        "probe": _PROBE,
    },
    {"name": "VM Network", "start": "10.255.48.220", "end": "10.255.48.230", "cidr": "10.255.48.0/24",
     "gateway": "10.255.48.1"},
    required=("name", "start", "end", "cidr", "gateway"),
)  # fmt: skip

_LOAD_BALANCER = _object(
    "Load balancer",
    "The pool that the members join.",
    {
        "type": _choice("Type", "Kind of load balancer.", ["f5"], "f5"),
        "pool": _text("Pool", "Name of the pool.", "web-pool"),
        "partition": _text("Partition", "Partition of the pool.", "Common", "Common"),
        "port": _port("Port", "Port of the members.", 8080),
        "vip": _text("VIP", "Address and port of the virtual server, as information.", "10.255.48.229:80", None),
        "health_path": _text(
            "Health path",
            "Path that answers when a member is healthy. Without it, /health, and /readyz for a model_endpoint.",
            "/health",
            "/health",
            pattern="^/",
        ),
    },
    {"pool": "web-pool", "port": 8080},
    required=("pool", "port"),
)

_MONITORING = _object(
    "Monitoring",
    "The Prometheus job, and the pace of its alerts.",
    {
        "job": _text("Job", "Prometheus job. Without it, the group's name.", "web", None, maxLength=200),
        "exporter_port": _port("Exporter port", "Port of node_exporter on the members.", 9100, 9100),
        "scrape": _field(
            "object", "Scrape", "More of the scrape job in Prometheus' own words, such as scheme, metrics_path, "
            "tls_config, basic_auth; promtool checks them. Secrets stand in files on the Prometheus host.", {},
            [{"scheme": "https", "tls_config": {"ca_file": "/etc/prometheus/site-ca.pem"}}],
        ),
        "scrape_interval": _seconds("Scrape interval", "Time between two scrapes.", 15),
        "evaluation_interval": _seconds("Evaluation interval", "Time between two looks at the rules.", 15),
        "group_interval": _seconds(
            "Group interval", "Alertmanager's pause before it sends a changed group again; null: a quarter of the "
            "shorter cooldown, at least 10.", None,
        ),
        "repeat_interval": _seconds(
            "Repeat interval", "How often a lasting alert is sent again; null: the shorter cooldown.", None
        ),
        "scale_in_needs_all_targets": _flag(
            "Scale-in needs all targets", "No scale-in alert while a target of the job cannot be scraped: what cannot "
            "be seen is read as busy.", True,
        ),
        "scale_out_needs_whole_window": _flag(
            "Scale-out needs the whole window", "For growing, the CPU of a member counts only when it was there at "
            "both ends of the policy's window: one that has just come or gone looks busy to rate() and is not.", True,
        ),
        "runbook_url": _text("Runbook", "Page for people, put into the alerts.", "https://wiki.example.org/web", ""),
    },
    {"job": "web", "exporter_port": 9100},
    default={},
)  # fmt: skip

_TIMEOUTS = {
    "clone": ("Clone", "The clone task.", 600),
    "customization": ("Customization", "Guest customization.", 600),
    "address": ("Address", "Until the guest reports its address.", 300),
    "gate": ("Gate", "All gates of one member. Without it, 300, and 1800 for a model_endpoint.", 300),
    "pool": ("Pool", "Until the load balancer calls the member available.", 120),
    "target": ("Target", "Until Prometheus scrapes the member.", 60),
    **TIMEOUTS,
}

_BREAKER = _object(
    "Breaker",
    "When launches that fail again and again stop, so that no VMs are made that never serve.",
    {
        "failures": _whole(
            "Failures", "VMs whose launch failed within the window that stop all launches of the group.", 3, 1, 20, 3
        ),
        "window": _seconds(
            "Window", "How long a failure counts. Without it, 3600, or longer where the cooldown and the timeouts need "
            "more for that many launches.", None, 1, 31536000,
        ),
        "probe_after": _seconds(
            "Probe after", "How long until a single VM may try again; doubled after each try that fails, up to a day.",
            1800,
        ),
    },
    {"failures": 3, "window": 3600, "probe_after": 1800},
    default={},
)  # fmt: skip

_QUARANTINE = _object(
    "Quarantine",
    "VMs whose launch failed, kept for diagnosis outside of the pool and of Prometheus. They count as owned.",
    {
        "keep": _whole(
            "Keep", "VMs that are kept at most; 0 deletes a failed VM at once. A launch that needs their room deletes "
            "the oldest.", 1, 0, 100, 1,
        ),
        "retention": _seconds("Retention", "How long a VM is kept.", 86400, 0, 31536000),
    },
    {"keep": 1, "retention": 86400},
    default={},
)  # fmt: skip

_HEALTH = _object(
    "Health",
    "When a member that does not serve is replaced.",
    {"grace": _seconds("Grace", "How long a member may be unhealthy or powered off before it is replaced.", 300, 0)},
    {"grace": 300},
    default={},
)

_RECOVERY = _object(
    "Recovery",
    "For a service that lives at several sites; optional.",
    {
        "scope": _text(
            "Scope", "Groups of this scope are changed only from the site that holds its epoch, where the inventory "
            "declares autoscale_epoch_stores.", "shop", pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
        ),
    },
    {"scope": "shop"},
    required=("scope",),
    default=None,
    nullable=True,
)  # fmt: skip

SCHEMA: dict[str, t.Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://onprem.autoscale/schemas/scaling_group.schema.json",
    **_object(
        "Scaling group",
        "One scaling group of the Ansible collection onprem.autoscale.",
        {
            "name": _text(
                "Name", "Name of the group: marks its VMs and labels its alerts.", "web",
                pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", maxLength=30,
            ),
            "kind": _choice(
                "Kind", "What the group is. The members of a model_endpoint serve a model with vLLM.",
                ["service", "model_endpoint"], "service",
            ),
            "enabled": _flag("Enabled", "A disabled group refuses every action.", True),
            "tenant": _text("Tenant", "Who owns the group.", "default", "default"),
            "site": _text("Site", "Site that the group lives on.", "main", "main"),
            "size": _SIZE,
            "cooldown": _COOLDOWN,
            "policies": _list("Policies", "What asks for scaling.", POLICY, POLICY["examples"], minItems=1),
            "gates": _list(
                "Gates", "Every one must pass before a member takes traffic. Without it, one http gate on the load "
                "balancer's port and health path. A model_endpoint has that of its model besides, and may have none.",
                _GATE, _GATE["examples"],
            ),
            "vm": _VM,
            "network": _NETWORK,
            "load_balancer": _LOAD_BALANCER,
            "monitoring": _MONITORING,
            "base_members": _list(
                "Base members", "Members that somebody else made: counted, never touched.",
                _object(
                    "Base member", "One member.",
                    {
                        "name": _text("Name", "Name of the VM.", "web-base-1", pattern=_VM_NAME, maxLength=80),
                        "address": _text("Address", "Its address.", "10.255.48.11"),
                    },
                    {"name": "web-base-1", "address": "10.255.48.11"}, required=("name", "address"),
                ),
                [{"name": "web-base-1", "address": "10.255.48.11"}], default=[],
            ),
            "scale_in": _object(
                "Scale-in", "How members leave.",
                {
                    "victim": _choice(
                        "Victim", "Who leaves first; unhealthy members always do.", ["newest", "oldest"], "newest"
                    ),
                    "drain_timeout": _seconds(
                        "Drain", "How long connections may run on. Without it, 120, and 600 for a model_endpoint.",
                        120, 0,
                    ),
                    "shutdown_timeout": _seconds("Shutdown", "How long the guest may take to shut down.", 60, 0),
                },
                {"victim": "newest", "drain_timeout": 120}, default={},
            ),
            "timeouts": _object(
                "Timeouts", "How long each phase of a scale-out may take.",
                {key: _seconds(*value) for key, value in _TIMEOUTS.items()}, {"clone": 600}, default={},
            ),
            "limits": _object(
                "Limits", "Load that one action may put on vCenter.",
                {"clones_in_flight": _whole("Clones in flight", "Clones that run at once.", 8, 1, 100, 8)},
                {"clones_in_flight": 8}, default={},
            ),
            "breaker": _BREAKER,
            "quarantine": _QUARANTINE,
            "health": _HEALTH,
            "ssh": _object(
                "SSH", "How a person or a role reaches the members; optional.",
                {
                    "user": _text("User", "Login name.", "ubuntu"),
                    "key_file": _text(
                        "Key file", "Path of the private key on the controller.", "~/.ssh/id_ed25519", None
                    ),
                },
                {"user": "ubuntu", "key_file": "~/.ssh/id_ed25519"}, required=("user",), default=None, nullable=True,
            ),
            "model": MODEL,
            "recovery": _RECOVERY,
        },
        {},
        required=("name", "size", "policies", "vm", "network", "load_balancer"),
    ),
}  # fmt: skip
SCHEMA["examples"] = [
    {
        "name": "web",
        **{
            key: SCHEMA["properties"][key]["examples"][0]
            for key in ("size", "policies", "vm", "network", "load_balancer")
        },
    }
]
