# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Carries out what is wanted of one GSLB service: read, merge, write where this controller takes it, read again.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t
from contextlib import suppress

from .._common._errors import AutoscaleError, NotFoundError, RefusedError, StaleError, UnsettledError
from ._client import Controller
from ._merge import Service, address_of, label, merge, normal, only_switches, serving, shown
from ._sites import Federation, read_federation, take_over

#: Writes until the service is as wanted; more than one only where somebody else writes too or an answer was lost.
ATTEMPTS = 4
PAUSE_S = 0.25
#: Looks until a site that was told to lead says that it does.
LEADER_LOOKS = 20
LEADER_PAUSE_S = 0.5
AVAILABILITY = {
    "OPER_UP": "available",
    "OPER_DOWN": "offline",
    "OPER_DISABLED": "disabled",
}


@dataclasses.dataclass
class Outcome:
    """What was there, what is there now, and what is known about it."""

    before: Service | None
    after: Service | None
    federation: Federation
    changed: bool
    runtime: t.Mapping[str, t.Any] | None = None

    def result(self, *, diff: bool) -> dict[str, t.Any]:
        """The module's result."""
        found: dict[str, t.Any] = {
            "changed": self.changed,
            "service": self._service(),
            "members": self._members(),
            "enabled": serving(self.after),
            "leader": self.federation.row(),
            "accepts": self.federation.accepts,
        }
        if diff:
            found["diff"] = {"before": shown(self.before), "after": shown(self.after)}
        return found

    def _service(self) -> dict[str, t.Any] | None:
        service = self.after
        if service is None:
            return None
        return {
            "name": service["name"],
            "uuid": service.get("uuid"),
            "enabled": service.get("enabled", True),
            "domain_names": service.get("domain_names") or [],
            "ttl": service.get("ttl"),
            "pool_algorithm": service.get("pool_algorithm"),
            "availability": AVAILABILITY.get(_state(self.runtime or {}) or "", "unknown"),
            "groups": [
                {
                    "name": group["name"],
                    "priority": group.get("priority"),
                    "state": _word(group),
                    "manual_resume": group.get("manual_resume", False),
                }
                for group in service.get("groups") or []
            ],
        }

    def _members(self) -> list[dict[str, t.Any]]:
        old = {(group, label(one)): one for group, one in _each(self.before)}
        states = {(group, label(one)): _state(one) for group, one in _each(self.runtime)}
        return [
            {
                "name": label(one),
                "ip": address_of(one),
                "fqdn": one.get("fqdn"),
                "cluster_uuid": one.get("cluster_uuid"),
                "vs_uuid": one.get("vs_uuid"),
                "group": group,
                "state": _word(one),
                "availability": AVAILABILITY.get(states.get((group, label(one))) or "", "unknown"),
                "changed": old.get((group, label(one))) != one,
            }
            for group, one in _each(self.after)
        ]


class Job:
    """One call of ``avi_gslb_service``.

    :param wish: the module's options, checked.
    """

    def __init__(
        self, controller: Controller, wish: t.Mapping[str, t.Any], sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        self.controller = controller
        self.wish = wish
        self.name: str = wish["name"]
        self.federation = read_federation(controller)
        self._sleep = sleep
        self.warnings: list[str] = []

    def run(self, *, check_mode: bool) -> Outcome:
        """Do it, or say what would be done.

        :raises AutoscaleError: with what is there now in its result.
        """
        before = self._read()
        wanted = self._wanted(before)
        if wanted == before:
            return self._outcome(before, before, changed=False)
        self._may_write(before, wanted, check_mode=check_mode)
        if check_mode:
            return self._outcome(before, wanted, changed=True)
        try:
            after = self._converge(before)
        except AutoscaleError as error:
            error.result = {**self._known(before), **error.result}
            raise
        return self._outcome(before, after, changed=True)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self) -> Service | None:
        for one in self.controller.objects("gslbservice", name=self.name, include_name="true"):
            if one.get("name") == self.name:
                return normal(one)
        return None

    def _outcome(self, before: Service | None, after: Service | None, *, changed: bool) -> Outcome:
        runtime = None
        if after is not None and after.get("uuid"):
            try:
                runtime = self.controller.get(f"gslbservice/{after['uuid']}/runtime")
            except AutoscaleError as error:
                self.warnings.append(f"The availability of {self.name} is not known: {error.message}")
        return Outcome(before, after, self.federation, changed, runtime)

    def _known(self, before: Service | None) -> dict[str, t.Any]:
        """What is there after a failure, as far as it can be read."""
        try:
            now = self._read()
        except AutoscaleError:
            return {"leader": self.federation.row(), "accepts": self.federation.accepts}
        return Outcome(before, now, self.federation, now != before).result(diff=False)

    # -- deciding ---------------------------------------------------------------------------------------------------

    def _wanted(self, current: Service | None) -> Service | None:
        if self.wish["state"] == "absent":
            return None
        new = merge(current, self.wish)
        if serving(current) and not serving(new) and not self.wish["allow_none"]:
            raise RefusedError(
                f"No member of the GSLB service {self.name} would be enabled any more "
                f"(enabled are {', '.join(serving(current))}), and its names would have no answer",
                remedy="Enable another member first or in the same call, or set allow_none=true.",
                result=Outcome(current, current, self.federation, False).result(diff=False),
            )
        return new

    def _may_write(self, before: Service | None, wanted: Service | None, *, check_mode: bool) -> None:
        """Whether this controller takes the change; perhaps after it has become the leader."""
        there = self.federation
        if there.maintenance:
            raise self._refuse("GSLB is in maintenance mode", "End it on the leader (gslb maintenancemode).")
        if there.accepts in ("all", "unknown"):
            return
        if wanted is not None and there.accepts == "switches" and only_switches(before, wanted):
            return
        where = f"the leader {there.leader}" + (f" ({there.leader_address})" if there.leader_address else "")
        take_over = self.wish["take_over"]
        if take_over == "never" or (take_over == "unreached" and there.reached is not False):
            raise self._refuse(
                f"{self.controller.name} is the controller of site {there.local}, a follower: configuration is "
                f"accepted by {where} only",
                self._remedy(where),
            )
        if not there.leader_change:
            raise self._refuse(
                f"{where} would have to be replaced, and the federation forbids a change of the leader",
                "Set leader_change_info.enabled of the GSLB configuration while a leader lives.",
            )
        if check_mode:
            self.warnings.append(f"Site {there.local} would take the lead from {there.leader}")
        else:
            self._take_over()

    def _take_over(self) -> None:
        old = self.federation
        with suppress(UnsettledError):  # who leads is read in any case
            take_over(self.controller, old)
        for _look in range(LEADER_LOOKS):
            self.federation = read_federation(self.controller)
            if self.federation.is_local:
                self.warnings.append(f"Site {old.local} took the lead from {old.leader}")
                return
            self._sleep(LEADER_PAUSE_S)
        raise self._refuse(
            f"site {old.local} was told to take the lead, but {self.controller.name} still names {old.leader}",
            "Look at the GSLB sites and events on this controller.",
        )

    def _remedy(self, where: str) -> str:
        there = self.federation
        switch = (
            "Members and groups can be enabled and disabled here, but nothing else"
            if there.by_members
            else "enable_config_by_members of the GSLB configuration, set while the leader lives, lets followers "
            "enable and disable members"
        )
        if there.reached:
            return f"Send it to {where}. {switch}."
        missed = "It is not reached from here" if there.reached is False else "Whether it lives is not known here"
        return f"{missed}: send it to {where}, or let this site take the lead (take_over). {switch}."

    def _refuse(self, message: str, remedy: str) -> RefusedError:
        return RefusedError(
            f"The GSLB service {self.name} was not changed: {message}",
            remedy=remedy,
            result={"leader": self.federation.row(), "accepts": self.federation.accepts},
        )

    # -- writing ----------------------------------------------------------------------------------------------------

    def _converge(self, before: Service | None) -> Service | None:
        """Write, read again, compare; repeat where somebody else wrote too, or an answer was lost.

        A name that is taken meanwhile, an object that is gone already and a write whose answer never came are the same
        case: look again, and send only what is still missing.
        """
        current = before
        failure: AutoscaleError | None = None
        for attempt in range(ATTEMPTS):
            wanted = self._wanted(current)
            if wanted == current:
                return current
            if attempt:
                self._sleep(PAUSE_S * 2**attempt)
            failure = None
            try:
                self._write(current, wanted)
            except (StaleError, UnsettledError, NotFoundError) as error:
                failure = error
            current = self._read()
        if self._wanted(current) == current:
            return current
        if failure is not None:
            raise failure
        raise RefusedError(
            f"{self.controller.name} accepted the change of the GSLB service {self.name} but does not show it",
            remedy="Look for another program that writes to it, and at the events of the controller.",
        )

    def _write(self, current: Service | None, wanted: Service | None) -> None:
        if wanted is None:
            self.controller.call("DELETE", f"gslbservice/{(current or {})['uuid']}")
        elif current is None:
            self.controller.call("POST", "gslbservice", wanted)
        else:
            # With the _last_modified that was read: a controller that compares it says 412 to a stale write.
            self.controller.call("PUT", f"gslbservice/{current['uuid']}", wanted)


def _each(service: t.Mapping[str, t.Any] | None) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    for group in (service or {}).get("groups") or []:
        for member in group.get("members") or []:
            yield group.get("name", ""), member


def _state(row: t.Mapping[str, t.Any]) -> str | None:
    status = row.get("oper_status")
    return status.get("state") if isinstance(status, dict) else None


def _word(one: t.Mapping[str, t.Any]) -> str:
    return "enabled" if one.get("enabled", True) else "disabled"
