# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What a reconcile answers: what was found, and the repairs as lists, each of which is the input of one task.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._state import Launch, Member, Plan, _Row, _rows

#: what a finding is about -> its column in the leak report
LEAKS = {"vm": "vms", "member": "members", "target": "targets", "lease": "leases"}


@dataclasses.dataclass(frozen=True)
class Finding(_Row):
    """One thing that is not as it should be.

    :param kind: ``vm_without_member``, ``lease_without_vm`` and so on (docs/decisions/0006).
    :param what: ``vm``, ``member`` (of the pool), ``target``, ``lease`` or ``group``.
    :param name: of the VM, member or source; empty when nobody knows.
    :param repair: ``adopt``, ``forget``, ``remove``, ``finish``, ``retire``, ``replace``, ``launch``, ``restore`` or
        ``none``.
    :param done_by: the list of :class:`Reconciliation` that holds the repair; empty for none.
    :param leak: nobody owned it, or nobody would ever have ended it: it belongs in the leak report.
    :param message: one sentence for people; with the remedy where *repair* is none and a person has to act.
    """

    kind: str
    what: str
    name: str = ""
    address: str = ""
    repair: str = "none"
    done_by: str = ""
    leak: bool = False
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Reconciliation(_Row):
    """Findings, and repairs in the order in which they are done; the ledger's own come first.

    :param adopt: rows ``{name, address, moid, state, action, created_at}`` of VMs that the ledger does not know, or
        whose lease it lost: member and lease are written.
    :param forget: names whose VM is confirmed gone; member and lease go, before anything is adopted.
    :param states: rows ``{name, state, unhealthy_since, missing_since}`` as they should be.
    :param pool_remove: rows ``{address, port}`` of members without a VM.
    :param target_remove: rows ``{address}``, with the port, as they stand in the file of targets.
    :param retire: members to drain, to remove and to delete now.
    :param launches: members to finish (with address and marks), then new ones (without).
    :param replaced: members to retire as soon as the new launches serve.
    :param plan: the launches as a plan with code ``reconcile``, for the body of a scale-out; None when the ledger or
        vCenter could not be read.
    :param owned: members in any state when ``forget`` is done and before ``retire`` is; None when it is unknown.
    :param room: new launches that fit without ``retire``; each VM of it that is really deleted makes room for one more.
        At most ``room + deleted`` new launches may begin (invariant 1).
    """

    findings: tuple[Finding, ...] = ()
    adopt: tuple[dict[str, t.Any], ...] = ()
    forget: tuple[str, ...] = ()
    states: tuple[dict[str, t.Any], ...] = ()
    pool_remove: tuple[dict[str, t.Any], ...] = ()
    target_remove: tuple[dict[str, t.Any], ...] = ()
    retire: tuple[Member, ...] = ()
    launches: tuple[Launch, ...] = ()
    replaced: tuple[Member, ...] = ()
    plan: Plan | None = None
    owned: int | None = None
    room: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "plan" and isinstance(value, t.Mapping):
                object.__setattr__(self, "plan", Plan.from_dict(value))
            elif isinstance(value, (list, tuple)):
                kind = {"findings": Finding, "retire": Member, "launches": Launch, "replaced": Member}.get(field.name)
                object.__setattr__(self, field.name, _rows(kind, value) if kind else tuple(value))

    @property
    def leaked(self) -> dict[str, int]:
        """How many things stand in the leak report, each once: ``{vms, members, targets, leases}``."""
        found = {(row.what, row.name, row.address) for row in self.findings if row.leak}
        return {column: sum(what == kind for kind, _name, _address in found) for what, column in LEAKS.items()}

    @property
    def repairs(self) -> bool:
        """Whether a backend or the set of members has to change; a note in the ledger alone is none."""
        return any(
            (self.adopt, self.forget, self.pool_remove, self.target_remove, self.retire, self.launches, self.replaced)
        )

    def as_dict(self) -> dict[str, t.Any]:
        """Plain data, ``leaked`` and ``repairs`` included."""
        return {**super().as_dict(), "leaked": self.leaked, "repairs": self.repairs}
