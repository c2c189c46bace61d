# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile over arbitrary worlds: what it never does, and that its repairs, applied, leave nothing to repair."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Breaker,
    Controls,
    GroupSpec,
    Reconciliation,
    names_unseen,
    reconcile,
)

NOW = 1_800_000_000.0
MIN, MAX = 2, 5
#: What only a person can end.
FOR_PEOPLE = {"protected", "above_max", "below_min", "missing_unconfirmed", "address_conflict"}
PROCESSES = ("launch", "terminate", "replace")


@dataclasses.dataclass(frozen=True)
class Situation:
    """One name, as the four sources show it."""

    row: str | None = None
    action: str = ""
    age: float = 0.0
    vm: str | None = None
    listed: bool = True
    protected: bool = False
    quarantined: bool = False
    pool: str | None = None
    target: bool = False
    lease: bool = True
    sick_for: float | None = None


@dataclasses.dataclass
class World:
    """What there is, and how each backend would show it."""

    spec: GroupSpec
    now: float = NOW
    vms: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    hidden: set[str] = dataclasses.field(default_factory=set)
    pool: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    targets: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    rows: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    leases: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    actions: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, spec: GroupSpec, situations: t.Sequence[Situation]) -> World:
        world = cls(spec)
        for base in spec.base_members:
            world.join(base.address, "the site's")
            world.targets[base.address] = {"job": "web"}
        for number, situation in enumerate(situations):
            world.put(f"web-2026010100000{number}", f"10.255.48.{220 + number}", situation)
        return world

    def put(self, name: str, address: str, situation: Situation) -> None:
        ident = f"act-{name}"
        self.actions[ident] = situation.action
        if situation.row:
            since = None if situation.sick_for is None else self.now - situation.sick_for
            self.rows[name] = {
                "name": name, "address": address, "moid": "", "state": situation.row, "action": ident,
                "created_at": self.now - situation.age, "updated_at": self.now - situation.age,
                "unhealthy_since": since, "missing_since": None, "quarantined_at": None, "note": "",
            }  # fmt: skip
        if situation.lease and (situation.row or situation.vm is None):
            self.leases[name] = {"member": name, "address": address, "action": ident, "leased_at": NOW - situation.age}
        if situation.vm:
            marks = {"group": "web", "address": address, "action": ident}
            marks |= {"protected": "true"} if situation.protected else {}
            marks |= {"quarantined": ident} if situation.quarantined else {}
            self.vms[name] = {
                "name": name, "moid": f"vm-{name}", "address": address, "power_state": situation.vm, "marks": marks,
                "created": NOW - 1000,
            }  # fmt: skip
            if situation.row and not situation.listed:
                # One that neither the ledger knows nor vCenter shows is beyond anybody's knowledge.
                self.hidden.add(name)
        if situation.pool:
            self.join(address, f"{name}, onprem.autoscale group web, action {ident}", situation.pool)
        if situation.target:
            self.targets[address] = {"job": "web", "group": "web", "member": name}

    def join(self, address: str, description: str, how: str = "up") -> None:
        session = "user-disabled" if how == "disabled" else "monitor-enabled"
        self.pool[address] = {"description": description, "session": session, "up": how != "down"}

    def pool_rows(self) -> list[dict[str, t.Any]]:
        """A member whose VM does not run is offline, and nothing but its monitor says so."""
        rows = []
        homes = {row["address"]: row for row in self.vms.values()}
        for address, member in self.pool.items():
            runs = address not in homes or homes[address]["power_state"] == "poweredOn"
            up = member["up"] and runs
            enabled = member["session"] == "monitor-enabled"
            rows.append(
                {
                    "address": address, "port": 8080, "name": f"{address}:8080", "session": member["session"],
                    "description": member["description"], "availability": "available" if up else "offline",
                    "in_service": up and enabled,
                }
            )  # fmt: skip
        return rows

    def sources(self, blind: t.Collection[str] = ()) -> dict[str, t.Any]:
        """The arguments of reconcile; *blind* are those that cannot be read."""
        ledger = {
            "members": copy.deepcopy(list(self.rows.values())),
            "leases": list(self.leases.values()),
            "actions": dict(self.actions),
        }
        shown: dict[str, t.Any] = {
            "vms": [row for name, row in self.vms.items() if name not in self.hidden],
            "pool_members": self.pool_rows(),
            "targets": [{"address": f"{address}:9100", "labels": labels} for address, labels in self.targets.items()],
            "ledger": ledger,
        }
        shown = {key: None if key in blind else value for key, value in shown.items()}
        names = names_unseen(self.spec, **shown)
        again = [self.vms[name] for name in names if name in self.vms]
        return {**shown, "vms_again": None if "vms_again" in blind else again}

    def look(self, controls: Controls | None = None, blind: t.Collection[str] = ()) -> Reconciliation:
        return reconcile(self.spec, **self.sources(blind), controls=controls or Controls(), now=self.now)

    def serving(self) -> set[str]:
        """Names of ours that get traffic and can answer it."""
        up = {row["address"] for row in self.pool_rows() if row["in_service"]}
        return {name for name, row in self.vms.items() if row["address"] in up}

    def quarantined(self) -> set[str]:
        """Names that stand in quarantine, as their mark or their row says."""
        marked = {name for name, row in self.vms.items() if "quarantined" in row["marks"]}
        return marked | {name for name, row in self.rows.items() if row["state"] == "quarantined"}

    # ---- repairs, where everything works

    def apply(self, found: Reconciliation) -> None:
        for name in found.forget:
            self._drop(name)
        for row in found.adopt:
            fresh = {"updated_at": self.now, "unhealthy_since": None, "missing_since": None, "quarantined_at": None}
            self.rows[row["name"]] = {**fresh, **self.rows.get(row["name"], {}), **row}
            self._lease(row["name"], row["address"])
        for row in found.states:
            self.rows[row["name"]].update(row)
        for row in found.pool_remove:
            del self.pool[row["address"]]
        for row in found.target_remove:
            del self.targets[row["address"].partition(":")[0]]
        self._delete(found.retire)
        for launch in found.launches:
            self._serve(launch)
        self._delete(found.replaced)
        self.hidden.clear()

    def _drop(self, name: str) -> None:
        self.rows.pop(name, None)
        self.leases.pop(name, None)

    def _lease(self, name: str, address: str) -> None:
        holders = {row["member"] for row in self.leases.values() if row["address"] == address}
        assert holders <= {name}, "invariant 3: no lease is held by two VMs"
        self.leases[name] = {"member": name, "address": address, "action": "", "leased_at": self.now}

    def _delete(self, members: t.Iterable[t.Any]) -> None:
        for member in members:
            self.pool.pop(member.address, None)
            self.targets.pop(member.address, None)
            del self.vms[member.name]
            self._drop(member.name)

    def _serve(self, launch: t.Any) -> None:
        address = launch.address
        if launch.new:
            taken = {row["address"] for row in self.leases.values()} | {row["address"] for row in self.vms.values()}
            address = next(a for a in (f"10.255.48.{n}" for n in range(220, 240)) if a not in taken)
            marks = {"group": "web", "address": address, "action": "new"}
            self.vms[launch.name] = {
                "name": launch.name,
                "moid": f"vm-{launch.name}",
                "address": address,
                "marks": marks,
            }
        self._lease(launch.name, address)
        self.vms[launch.name]["power_state"] = "poweredOn"
        self.join(address, f"{launch.name}, onprem.autoscale group web, action new")
        self.targets[address] = {"job": "web", "group": "web", "member": launch.name}
        row = self.rows.setdefault(launch.name, {"name": launch.name, "created_at": self.now, "updated_at": self.now})
        row.update(address=address, state="in_service", action="new")


situations = st.builds(
    Situation,
    row=st.sampled_from(
        [None, "planned", "launching", "failed", "in_service", "in_service", "in_service", "draining", "quarantined"]
    ),
    action=st.sampled_from(["", "lost", "failed", "succeeded", "refused"]),
    age=st.sampled_from([10.0, 5000.0, 100_000.0]),
    vm=st.sampled_from([None, "poweredOn", "poweredOn", "poweredOn", "poweredOff"]),
    listed=st.sampled_from([True, True, True, False]),
    protected=st.sampled_from([False, False, False, True]),
    quarantined=st.sampled_from([False, False, False, False, True]),
    pool=st.sampled_from([None, "up", "up", "up", "down", "disabled"]),
    target=st.booleans(),
    lease=st.sampled_from([True, True, True, False]),
    sick_for=st.sampled_from([None, None, 10.0, 1000.0]),
)
worlds = st.lists(situations, max_size=6)
breakers = st.sampled_from(
    [
        Breaker(),
        Breaker("open", ({"at": NOW, "member": "x", "reason": "y"},), NOW, NOW + 60),
        Breaker("open", (), NOW - 100, NOW - 1),
        Breaker("probing", (), NOW - 100, NOW + 60),
    ]
)
controls_of = st.builds(
    Controls, st.frozensets(st.sampled_from(PROCESSES)), breakers, st.sampled_from(["", "", "site b holds it"])
)
blindness = st.sets(st.sampled_from(["vms", "vms_again", "pool_members", "targets", "ledger"]), max_size=2)


@pytest.fixture(scope="module", params=[0, 1], ids=["no base", "base"])
def spec(request: t.Any, make_spec: t.Any) -> GroupSpec:
    base = [{"name": "base-1", "address": "10.255.48.11"}][: request.param]
    return make_spec(size={"min": MIN, "max": MAX}, base_members=base, network__end="10.255.48.240")


def check_safety(world: World, found: Reconciliation, controls: Controls, blind: t.Collection[str]) -> None:
    """What holds for every reconcile, whatever the sources say."""
    spec, leaving = world.spec, [*found.retire, *found.replaced]
    names = [member.name for member in leaving]
    new = [launch for launch in found.launches if launch.new]
    assert len(set(names)) == len(names)
    assert not set(names) & {row.name for row in spec.base_members}, "invariant 10"
    assert not any(member.protected or member.base for member in leaving), "invariant 10"
    quarantined = world.quarantined()
    assert not set(names) & (world.serving() - quarantined), "nobody who serves leaves"
    assert not set(found.forget) & set(world.vms), "invariant 3: no address of a VM that exists is given back"
    homes = {row["address"]: name for name, row in world.vms.items()}
    for row in [*found.pool_remove, *found.target_remove]:
        home = homes.get(row["address"].partition(":")[0])
        assert home is None or home in quarantined, "only what has no VM goes"
    assert not {row["address"] for row in found.pool_remove} & {row.address for row in spec.base_members}
    if found.launches:
        owned = len(spec.base_members) + len({*world.vms, *world.rows} - set(found.forget))
        assert owned == found.owned
        assert not new or owned - len(found.retire) + len(new) <= spec.size.max, "invariant 1"
    addresses = [launch.address for launch in found.launches if launch.address]
    assert len(set(addresses)) == len(addresses), "invariant 3"
    launched = [launch.name for launch in found.launches]
    assert len(set(launched)) == len(launched)
    assert not {launch.name for launch in new} & {*world.vms, *world.rows, *world.leases}
    assert not {launch.name for launch in found.launches} & {member.name for member in found.retire}
    assert [launch.slot for launch in found.launches] == list(range(1, len(launched) + 1))
    permit = controls.breaker.permit(world.now)
    assert permit is None or sum(not launch.keep for launch in found.launches) <= permit, "invariant 8"
    assert "launch" not in controls.suspended or not found.launches
    assert "terminate" not in controls.suspended or not leaving
    assert "replace" not in controls.suspended or not found.replaced
    assert len(found.replaced) <= 1
    if controls.not_holder:
        assert (found.launches, leaving, found.pool_remove, found.target_remove) == ((), [], (), ()), "D6"
        assert found.plan is None or not found.plan.acts, "D6"
    if {"vms", "ledger"} & set(blind):
        assert not found.repairs
        assert not found.states
    if "pool_members" in blind:
        assert not found.launches, "invariant 9"
        assert not leaving, "invariant 9"
        assert not found.pool_remove, "invariant 9"
    if "targets" in blind:
        assert not found.target_remove, "invariant 9"
    if "vms_again" in blind:
        assert not found.forget, "one listing proves nothing"
        assert all(row["address"] in homes for row in found.pool_remove), "one listing proves nothing"
    for finding in found.findings:
        assert finding.message
        assert (finding.repair == "none") == (finding.done_by == ""), finding
    assert Reconciliation.from_dict(found.as_dict()) == found


@settings(max_examples=250, deadline=None)
@given(rows=worlds, controls=controls_of, blind=blindness)
def test_whatever_the_sources_say_nothing_is_lost(
    spec: GroupSpec, rows: list[Situation], controls: Controls, blind: set[str]
) -> None:
    """Invariants 1, 3, 4, 8, 9 and 10, with suspended processes, an open breaker and sources that do not answer."""
    world = World.of(spec, rows)
    found = world.look(controls, blind)
    assert world.look(controls, blind) == found, "deterministic"
    check_safety(world, found, controls, blind)


@settings(max_examples=250, deadline=None)
@given(rows=worlds)
def test_repairs_leave_nothing_to_repair(spec: GroupSpec, rows: list[Situation]) -> None:
    """Where everything works, a few rounds end with a group whose four sources agree, and it stays so."""
    world = World.of(spec, rows)
    for number in range(12):
        found = world.look()
        check_safety(world, found, Controls(), ())
        served = world.serving() - world.quarantined()
        world.apply(found)
        assert len(world.vms) + len(spec.base_members) <= max(MAX, len(rows) + len(spec.base_members))
        assert len(world.serving()) >= min(len(served), 1), "a reconcile never empties a group"
        world.now += spec.timeouts.clone + 1
        if number > 2 and not found.repairs and not found.states:
            break  # by then nothing waits for a clone or for its grace any more
    else:
        raise AssertionError(f"no end in sight: {found.findings}")
    found = world.look()
    assert {finding.kind for finding in found.findings if finding.repair == "none"} <= FOR_PEOPLE
    assert not found.repairs
    check_agreement(world, found)


def check_agreement(world: World, found: Reconciliation) -> None:
    assert set(world.rows) == set(world.vms) == set(world.leases), "one row, one lease, one VM each"
    assert all(world.leases[name]["address"] == row["address"] for name, row in world.vms.items())
    protected = {name for name, row in world.vms.items() if "protected" in row["marks"]}
    kept = {name for name, row in world.rows.items() if row["state"] == "quarantined"}
    homes = {row["address"]: name for name, row in world.vms.items()}
    members = {homes[address] for address in world.pool if address in homes}
    targets = {homes[address] for address in world.targets if address in homes}
    assert set(world.pool) - set(homes) == {row.address for row in world.spec.base_members}
    assert set(world.targets) - set(homes) == {row.address for row in world.spec.base_members}
    assert not (members | targets) & kept, "who stands in quarantine stands nowhere else"
    assert set(world.vms) - kept - protected <= world.serving() & targets
    assert not any(found.leaked.values())
    if not protected:
        assert len(world.serving()) + len(world.spec.base_members) >= MIN
        assert not found.findings or {finding.kind for finding in found.findings} == {"above_max"}


@settings(max_examples=100, deadline=None)
@given(rows=worlds.filter(bool), lost=st.sets(st.integers(0, 5)))
def test_a_lost_ledger_is_rebuilt(spec: GroupSpec, rows: list[Situation], lost: set[int]) -> None:
    """With rows and leases of some, or of all, gone: the marks bring them back, and nobody who serves notices."""
    world = World.of(spec, rows)
    world.hidden.clear()
    for number in lost or range(len(rows)):
        world._drop(f"web-2026010100000{number}")
    before = world.serving()
    quarantined = world.quarantined()
    found = world.look()
    check_safety(world, found, Controls(), ())
    world.apply(found)
    assert before - quarantined <= world.serving()
    assert {name for name in world.vms if name in world.rows} == set(world.vms)


@settings(max_examples=100, deadline=None)
@given(rows=worlds)
def test_a_stale_listing_costs_nothing(spec: GroupSpec, rows: list[Situation]) -> None:
    """vCenter shows none of its VMs, and then, asked by name, all: no row, lease, member or VM changes."""
    world = World.of(spec, rows)
    world.hidden = set(world.vms)
    found = world.look()
    existing = set(world.vms)
    assert not existing & {*found.forget, *(row["name"] for row in found.adopt)}
    assert not found.retire
    assert not found.replaced
    homes = {row["address"] for row in world.vms.values()}
    assert not homes & {row["address"] for row in found.pool_remove}
