# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A recovery plan as an immutable value: what was declared, with every default filled in.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._problems import Problems
from ._recovery_rules import check_recovery, fill_services, ordered
from ._recovery_schema import KIND_FIELDS, SCHEMA
from ._shape import check_shape, fill_defaults, plain
from ._value import _build, _optional, _Value

WHAT = "recovery plan"


@dataclasses.dataclass(frozen=True)
class Sites(_Value):
    """The two sites."""

    primary: str
    secondary: str

    def other(self, site: str) -> str:
        """The one that is not *site*."""
        return self.secondary if site == self.primary else self.primary


@dataclasses.dataclass(frozen=True)
class Targets(_Value):
    """What is promised, in seconds."""

    rto: int
    rpo: int


@dataclasses.dataclass(frozen=True)
class Service(_Value):
    """One part of what is recovered; fields of other kinds are None."""

    name: str
    kind: str
    needs: tuple[str, ...]
    data: str | None = None
    store: str | None = None
    replication: str | None = None
    project: str | None = None
    filter: str | None = None
    folder: str | None = None
    max_age: int | None = None
    group: str | None = None
    serving: int | None = None
    standby: int | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """Plain data, with the fields of its kind."""
        own = ("name", "kind", "needs", *KIND_FIELDS[self.kind])
        return {key: value for key, value in super().as_dict().items() if key in own}


@dataclasses.dataclass(frozen=True)
class F5Traffic(_Value):
    """The GSLB pool; members: site -> server:virtual server."""

    pool: str
    type: str
    partition: str
    members: t.Mapping[str, str] = dataclasses.field(hash=False)


@dataclasses.dataclass(frozen=True)
class AviTraffic(_Value):
    """The GSLB service; members: site -> address."""

    service: str
    members: t.Mapping[str, str] = dataclasses.field(hash=False)


@dataclasses.dataclass(frozen=True)
class Resolver(_Value):
    """A name server of the GSLB."""

    address: str
    port: int


@dataclasses.dataclass(frozen=True)
class Traffic(_Value):
    """What leads clients to a site; ttl in seconds."""

    type: str
    name: str
    f5: F5Traffic | None
    avi: AviTraffic | None
    resolvers: tuple[Resolver, ...]
    ttl: int


@dataclasses.dataclass(frozen=True)
class Check(_Value):
    """How a site itself is asked; hosts: site -> address."""

    path: str
    port: int
    hosts: t.Mapping[str, str] = dataclasses.field(hash=False)
    status: int


@dataclasses.dataclass(frozen=True)
class Outage(_Value):
    """The series that tells when the service was away; lookback in seconds."""

    selector: str
    lookback: int


@dataclasses.dataclass(frozen=True)
class EpochScope(_Value):
    """The fencing token's name."""

    scope: str


@dataclasses.dataclass(frozen=True)
class Pool(_Value):
    """Addresses from start to end."""

    start: str
    end: str


@dataclasses.dataclass(frozen=True)
class Drill(_Value):
    """Where a drill takes place."""

    network: str
    pool: Pool
    cidr: str
    gateway: str
    members: int
    vip: str
    port: int


@dataclasses.dataclass(frozen=True)
class RecoveryPlan(_Value):
    """One plan; build it with :func:`parse_plan`."""

    name: str
    pattern: str
    sites: Sites
    targets: Targets
    services: tuple[Service, ...]
    traffic: Traffic
    check: Check
    outage: Outage
    epoch: EpochScope
    drill: Drill | None
    steps: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(hash=False)

    def in_order(self) -> tuple[Service, ...]:
        """The services, each behind what it needs."""
        return ordered(self.services)

    def of_kind(self, kind: str) -> tuple[Service, ...]:
        """Those of one kind, in that order."""
        return tuple(service for service in self.in_order() if service.kind == kind)


def _plan(data: dict[str, t.Any]) -> RecoveryPlan:
    traffic, drill = data["traffic"], data["drill"]
    return _build(
        RecoveryPlan,
        data,
        sites=_build(Sites, data["sites"]),
        targets=_build(Targets, data["targets"]),
        services=tuple(_build(Service, row) for row in data["services"]),
        traffic=_build(
            Traffic,
            traffic,
            f5=_optional(F5Traffic, traffic["f5"]),
            avi=_optional(AviTraffic, traffic["avi"]),
            resolvers=tuple(_build(Resolver, row) for row in traffic["resolvers"]),
        ),
        check=_build(Check, data["check"]),
        outage=_build(Outage, data["outage"]),
        epoch=_build(EpochScope, data["epoch"]),
        drill=drill and _build(Drill, drill, pool=_build(Pool, drill["pool"])),
    )


def parse_plan(
    data: t.Mapping[str, t.Any], *, origin: str = "", lines: t.Mapping[str, int] | None = None
) -> RecoveryPlan:
    """The plan that *data* declares; the full form is valid input, too.

    :param origin: name of the file, for the messages.
    :param lines: line of each field in that file, by its path.
    :raises InvalidSpecError: with every error at once, one line each: ``file:line: field: value is ...; allowed: ...``;
        ``result["errors"]`` holds them as rows.
    """
    problems = Problems(origin, what=WHAT, lines=lines)
    given = plain(data)
    check_shape(given, problems, SCHEMA, what=WHAT)
    problems.give_up_unless(isinstance(given, dict))
    full = fill_services(fill_defaults(given, SCHEMA))
    check_recovery(full, problems)
    problems.give_up_if_any()
    return _plan(full)
