# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A scaling group as an immutable value: what was declared, with every default filled in.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._problems import Problems
from ._rules import check_rules, fill_derived
from ._rules_model import fill_kind
from ._shape import check_shape, fill_defaults, plain
from ._spec_model import Model, ModelIn, ModelOut, build_model
from ._value import _build, _optional, _Value


@dataclasses.dataclass(frozen=True)
class Size(_Value):
    """Members, base members included."""

    min: int
    max: int
    step_out: int
    step_in: int


@dataclasses.dataclass(frozen=True)
class Cooldown(_Value):
    """Seconds of rest for each direction."""

    out: int
    in_: int

    def of(self, direction: str) -> int:
        """Seconds for ``out`` or ``in``."""
        return self.out if direction == "out" else self.in_


@dataclasses.dataclass(frozen=True)
class Thresholds(_Value):
    """One direction of a threshold policy: percent (None: not looked at) and seconds."""

    cpu: float | None
    memory: float | None
    for_: int


@dataclasses.dataclass(frozen=True)
class Policy(_Value):
    """What asks for scaling, by thresholds or by a model's signals; ``window`` in seconds."""

    type: str
    window: int
    out: Thresholds | ModelOut | None
    in_: Thresholds | ModelIn | None


@dataclasses.dataclass(frozen=True)
class Gate(_Value):
    """One test before traffic; the http fields are None for a tcp gate."""

    type: str
    port: int
    path: str | None
    scheme: str | None
    status: int | None
    contains: str | None
    regex: str | None
    validate_certs: bool | None
    consecutive: int
    timeout: int

    def as_dict(self) -> dict[str, t.Any]:
        """Plain data, without what does not apply: an explicit null is no valid choice of a module option."""
        return {key: value for key, value in super().as_dict().items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Vm(_Value):
    """What a member is cloned from and where to; None leaves the choice to vCenter or the template."""

    template: str
    prefix: str
    datacenter: str | None
    folder: str | None
    cluster: str | None
    resource_pool: str | None
    datastore: str | None
    host: str | None
    customization: str
    cpus: int | None
    memory_mb: int | None


@dataclasses.dataclass(frozen=True)
class Probe(_Value):
    """How an address is asked whether it is in use; ``timeout`` in seconds."""

    methods: tuple[str, ...]
    ports: tuple[int, ...]
    timeout: float


@dataclasses.dataclass(frozen=True)
class Network(_Value):
    """The IP pool and its subnet (IPv4).

    ``reserved`` holds addresses that are never given out though they may look free: the VIP and the base members.
    It is derived, no field of the declaration.
    """

    name: str
    vlan: int | None
    start: str
    end: str
    cidr: str
    gateway: str
    dns_servers: tuple[str, ...]
    domain: str
    probe: Probe
    reserved: frozenset[str] = frozenset()

    def as_dict(self) -> dict[str, t.Any]:
        """Plain data, without what is derived."""
        full = super().as_dict()
        del full["reserved"]
        return full


@dataclasses.dataclass(frozen=True)
class LoadBalancer(_Value):
    """The pool that members join; ``port`` is theirs, ``vip`` is ``address:port`` or None."""

    type: str
    pool: str
    partition: str
    port: int
    vip: str | None
    health_path: str


@dataclasses.dataclass(frozen=True)
class Monitoring(_Value):
    """The Prometheus job and the pace of its alerts, in seconds (None: derived from the cooldown)."""

    job: str
    exporter_port: int
    scrape: t.Mapping[str, t.Any] = dataclasses.field(hash=False)
    scrape_interval: int
    evaluation_interval: int
    group_interval: int | None
    repeat_interval: int | None
    scale_in_needs_all_targets: bool
    scale_out_needs_whole_window: bool
    runbook_url: str


@dataclasses.dataclass(frozen=True)
class BaseMember(_Value):
    """A member that this collection did not make."""

    name: str
    address: str


@dataclasses.dataclass(frozen=True)
class ScaleIn(_Value):
    """Who leaves first, and seconds for draining and shutting down."""

    victim: str
    drain_timeout: int
    shutdown_timeout: int


@dataclasses.dataclass(frozen=True)
class Timeouts(_Value):
    """Seconds for each phase of a scale-out; the last two are those of a model endpoint only."""

    clone: int
    customization: int
    address: int
    gate: int
    pool: int
    target: int
    prepare: int | None
    warmup: int | None

    def as_dict(self) -> dict[str, t.Any]:
        """Plain data, without the phases that the group does not have."""
        return {key: value for key, value in super().as_dict().items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Limits(_Value):
    """Load that one action may put on vCenter."""

    clones_in_flight: int


@dataclasses.dataclass(frozen=True)
class BreakerRule(_Value):
    """How many failed launches within ``window`` seconds stop the group's launches, and when a probe may try."""

    failures: int
    window: int
    probe_after: int


@dataclasses.dataclass(frozen=True)
class Quarantine(_Value):
    """How many VMs whose launch failed are kept for diagnosis, and for how many seconds."""

    keep: int
    retention: int


@dataclasses.dataclass(frozen=True)
class Health(_Value):
    """Seconds that a member may be unhealthy before it is replaced."""

    grace: int


@dataclasses.dataclass(frozen=True)
class Ssh(_Value):
    """How members are reached."""

    user: str
    key_file: str | None


@dataclasses.dataclass(frozen=True)
class Recovery(_Value):
    """Whose epoch decides which site may change the group."""

    scope: str


@dataclasses.dataclass(frozen=True)
class GroupSpec(_Value):
    """One scaling group; build it with :func:`parse_spec`."""

    name: str
    kind: str
    enabled: bool
    tenant: str
    site: str
    size: Size
    cooldown: Cooldown
    policies: tuple[Policy, ...]
    gates: tuple[Gate, ...]
    vm: Vm
    network: Network
    load_balancer: LoadBalancer
    monitoring: Monitoring
    base_members: tuple[BaseMember, ...]
    scale_in: ScaleIn
    timeouts: Timeouts
    limits: Limits
    breaker: BreakerRule
    quarantine: Quarantine
    health: Health
    ssh: Ssh | None
    model: Model | None
    recovery: Recovery | None


def _policy(data: t.Mapping[str, t.Any]) -> Policy:
    out, inward = (ModelOut, ModelIn) if data["type"] == "model_signals" else (Thresholds, Thresholds)
    return _build(Policy, data, out=_optional(out, data["out"]), in_=_optional(inward, data["in"]))


def _group(data: dict[str, t.Any]) -> GroupSpec:
    reserved = {member["address"] for member in data["base_members"]}
    if data["load_balancer"]["vip"]:
        reserved.add(data["load_balancer"]["vip"].rpartition(":")[0])
    network = data["network"]
    return _build(
        GroupSpec,
        data,
        size=_build(Size, data["size"]),
        cooldown=_build(Cooldown, data["cooldown"]),
        policies=tuple(_policy(row) for row in data["policies"]),
        gates=tuple(_build(Gate, row) for row in data["gates"]),
        vm=_build(Vm, data["vm"]),
        network=_build(Network, network, probe=_build(Probe, network["probe"]), reserved=frozenset(reserved)),
        load_balancer=_build(LoadBalancer, data["load_balancer"]),
        monitoring=_build(Monitoring, data["monitoring"]),
        base_members=tuple(_build(BaseMember, row) for row in data["base_members"]),
        scale_in=_build(ScaleIn, data["scale_in"]),
        timeouts=_build(Timeouts, data["timeouts"]),
        limits=_build(Limits, data["limits"]),
        breaker=_build(BreakerRule, data["breaker"]),
        quarantine=_build(Quarantine, data["quarantine"]),
        health=_build(Health, data["health"]),
        ssh=_optional(Ssh, data["ssh"]),
        model=build_model(data["model"]),
        recovery=_optional(Recovery, data["recovery"]),
    )


def parse_spec(data: t.Mapping[str, t.Any], *, origin: str = "") -> GroupSpec:
    """The group that *data* declares.

    :param data: what the YAML file holds.
    :param origin: name of that file, for the messages.
    :raises InvalidSpecError: with every error at once, one line each: ``field: value is ...; allowed: ...``;
        ``result["errors"]`` holds them as rows.
    """
    problems = Problems(origin)
    given = plain(data)
    check_shape(given, problems)
    problems.give_up_unless(isinstance(given, dict))
    full = fill_derived(fill_defaults(fill_kind(given)))
    check_rules(full, problems)
    problems.give_up_if_any()
    return _group(full)
