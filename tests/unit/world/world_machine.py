# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that may happen to one group, as a state machine of Hypothesis.

Rules start plays, let them run a few tasks, kill or freeze them, deliver alerts, let dispatchers look, break backends,
let people do what they do, and let time pass. The invariants are asked at each change (``site_checks``) and after each
rule; at the end all trouble ends, and a few reconciles have to leave a group in which nothing is lost and nothing is
left over.
"""

from __future__ import annotations

import collections
import copy
import typing as t

import hypothesis.strategies as st
from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unit.world import site_people
from unit.world.autoscaler import TTL_S, Autoscaler, Play
from unit.world.fake_node import Node
from unit.world.site_checks import Violation
from unit.world.site_faults import BACKENDS, KINDS, READS, Row

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_spec

DECLARATION: Row = {
    "name": "web",
    "size": {"min": 2, "max": 4, "step_out": 2},
    "cooldown": {"out": 120, "in": 120},
    "policies": [{"type": "threshold", "out": {"cpu": 80, "for": 60}, "in": {"cpu": 30, "for": 300}}],
    "vm": {"template": "web-template"},
    "network": {
        "name": "VM Network",
        "start": "10.0.0.10",
        "end": "10.0.0.19",
        "cidr": "10.0.0.0/24",
        "gateway": "10.0.0.1",
    },
    "load_balancer": {"pool": "web-pool", "port": 8080},
    "base_members": [{"name": "web-base-1", "address": "10.0.0.5"}],
}
#: Findings that stand for something that reconcile tells of and does not change.
TOLD = {"above_max", "foreign_member", "base_member_unhealthy", "protected", "quarantined"}
PATIENCE = 7  # reconciles until nothing is found any more; one VM is replaced in each
MOST_PLAYS = 3

#: What happened over all examples of this process, for people and for the smoke test.
TOTALS: collections.Counter[str] = collections.Counter()


def declare(**size: int) -> Row:
    """The group's declaration in its full form."""
    data = copy.deepcopy(DECLARATION)
    data["size"].update(size)
    return parse_spec(data).as_dict()


class WorldMachine(RuleBasedStateMachine):
    """One group, two dispatchers, people, and bad luck."""

    def __init__(self) -> None:
        super().__init__()
        self.world: Autoscaler | None = None
        TOTALS["examples"] += 1

    @initialize(
        low=st.integers(1, 3),
        span=st.integers(0, 2),
        step=st.integers(1, 2),
        keep=st.integers(0, 1),
        base=st.booleans(),
    )
    def begin(self, low: int, span: int, step: int, keep: int, base: bool) -> None:
        data = copy.deepcopy(DECLARATION)
        data["size"] = {"min": low, "max": max(low + span, 2), "step_out": step, "step_in": step}
        data["quarantine"] = {"keep": keep}
        if not base:
            del data["base_members"]
        self.world = Autoscaler(parse_spec(data).as_dict())
        self.site = self.world.site
        self.nodes = [Node(self.world, "node-a"), Node(self.world, "node-b")]
        self.starts = 0

    # ---- plays

    def _running(self) -> list[Play]:
        return [play for play in self.world.plays if play.state == "running"] if self.world else []

    def _go_on(self, data: st.DataObject, most: int) -> None:
        """Whoever runs goes on while other things happen: a few tasks, or to its end."""
        plays = self._running()
        if plays:
            play = data.draw(st.sampled_from(plays), label="play") if len(plays) > 1 else plays[0]
            tasks = data.draw(st.integers(0, most), label="tasks")
            play.advance(tasks if tasks < 20 else 1000)

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """A play goes on."""
        self._go_on(data, 25)

    @precondition(lambda self: self.world and len(self.world.alive()) < MOST_PLAYS)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["scale_out", "scale_in", "reconcile"]),
        count=st.integers(0, 3),
        rash=st.booleans(),
    )
    def person_starts(self, data: st.DataObject, kind: str, count: int, rash: bool) -> None:
        """A person starts a play."""
        extra: Row = {"ignore_cooldown": rash}
        if count and kind != "reconcile":
            extra["count"] = count
        self.world.start(kind, **extra)
        self._go_on(data, 25)

    @precondition(lambda self: self._running())
    @rule(data=st.data(), transactions=st.integers(-4, 6))
    def kill(self, data: st.DataObject, transactions: int) -> None:
        """kill -9: at once, or before one of the next transactions of its journal."""
        play = data.draw(st.sampled_from(self._running()), label="play")
        if transactions > 0:
            play.die_in = transactions
            play.advance(1000)
        else:
            self.world.count(f"killed {play.actor.kind}")
            play.kill()

    @precondition(lambda self: self._running() and len(self.world.alive()) < MOST_PLAYS)
    @rule(data=st.data(), kind=st.sampled_from(["scale_out", "scale_in", "reconcile"]))
    def stall(self, data: st.DataObject, kind: str) -> None:
        """A play is stopped, its heartbeat with it, until its lock has run out; another one starts; it comes back.

        Here it stops only before an entry into its journal; ``test_interleavings`` stops it everywhere.
        """
        play = data.draw(st.sampled_from(self._running()), label="play")
        while play.state == "running" and not play.run.next_module.startswith("scaling_"):
            play.advance()
        if play.state != "running":
            return
        play.state = "frozen"
        self.world.count("frozen")
        self.site.clock.advance(TTL_S + 1)
        self.world.start(kind, ignore_cooldown=True)
        self._go_on(data, 25)
        play.state = "running"
        self._go_on(data, 25)

    # ---- signals

    @precondition(lambda self: self.world and not self.world.ledger_down)
    @rule(
        data=st.data(),
        direction=st.sampled_from(["out", "in"]),
        key=st.sampled_from(["a", "b"]),
        status=st.sampled_from(["firing", "firing", "firing", "resolved"]),
        start=st.integers(0, 2),
        copies=st.integers(1, 3),
    )
    def deliver(self, data: st.DataObject, direction: str, key: str, status: str, start: int, copies: int) -> None:
        """Alertmanager delivers: new, again, twice, late, out of order; then a dispatcher looks."""
        alert = Alert(f"{direction}-{key}", f"start-{start}", status, "web", direction, "cpu", self.site.clock())
        for number in range(copies):
            self.nodes[number % 2].accept([alert])
            self.world.alerts.delivered(f"{key}|{start}", direction, status)
        self._look(data)

    @precondition(lambda self: self.world)
    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        """A dispatcher looks."""
        self._look(data)

    def _look(self, data: st.DataObject) -> None:
        node = self.nodes[data.draw(st.integers(0, 1), label="node")]
        if not node.down and len(self.world.alive()) < MOST_PLAYS:
            before = len(self.world.plays)
            node.look()
            self.world.count("dispatched", len(self.world.plays) - before)
        self._go_on(data, 25)

    @precondition(lambda self: self.world)
    @rule(index=st.integers(0, 1), transactions=st.integers(0, 4))
    def node_fate(self, index: int, transactions: int) -> None:
        """A dispatcher dies, between two transactions too, and comes back."""
        node = self.nodes[index]
        if node.down:
            node.down = False
            return
        self.world.node_dies_in = transactions
        node.look()
        self.world.node_dies_in = None
        node.down = True

    # ---- trouble

    @precondition(lambda self: self.world)
    @rule(data=st.data(), seconds=st.sampled_from([1.0, 15.0, 61.0, TTL_S + 1, 350.0, 700.0, 1900.0, 4000.0]))
    def wait(self, data: st.DataObject, seconds: float) -> None:
        """Time passes."""
        self.site.clock.advance(seconds)
        self._look(data)

    @precondition(lambda self: self.world)
    @rule(data=st.data(), call=st.sampled_from(sorted(BACKENDS)), kind=st.sampled_from(KINDS))
    def fault(self, data: st.DataObject, call: str, kind: str) -> None:
        """Something goes wrong in the next call; of stale reads there is one at a time, and none while rebuilding."""
        if kind == "stale":
            stale = "stale" in self.site.faults.waiting.values() or self.site.checks.rebuilding or self._running()
            if call not in READS or stale:
                return
        self.site.faults.waiting[call] = kind
        self._go_on(data, 25)

    @precondition(lambda self: self.world)
    @rule(data=st.data(), name=st.sampled_from(sorted(site_people.DEEDS)))
    def people(self, data: st.DataObject, name: str) -> None:
        """Somebody does something behind the autoscaler's back."""
        done = site_people.do(self.site, name, lambda found: data.draw(st.sampled_from(found)))
        if done:
            self.world.count(name)
        self._go_on(data, 12)

    @precondition(lambda self: self.world)
    @rule(
        data=st.data(),
        what=st.sampled_from(["template", "outage", "outage", "suspend", "resume", "bounds", "lose_ledger"]),
    )
    def trouble(self, data: st.DataObject, what: str) -> None:
        """What concerns the whole group."""
        if what not in ("suspend", "resume", "lose_ledger") or not self.world.ledger_down:
            getattr(self, f"_{what}")(data)
        self._go_on(data, 12)

    def _outage(self, data: st.DataObject) -> None:
        """A backend goes away, or all come back."""
        if self.site.faults.down or self.world.ledger_down:
            self.site.faults.down.clear()
            self.world.ledger_down = False
            return
        backend = data.draw(st.sampled_from(["vcenter", "bigip", "prometheus", "network", "ledger"]))
        self.world.count(f"outage of {backend}")
        if backend == "ledger":
            self.world.ledger_down = True
        else:
            self.site.faults.down.add(backend)

    def _template(self, data: st.DataObject) -> None:
        """The template is broken, or mended; clones take longer than we wait, or not."""
        self.site.clones_boot = data.draw(st.booleans())
        self.site.clone_seconds = data.draw(st.sampled_from([30.0, 30.0, 700.0]))

    def _suspend(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(["launch", "terminate", "replace"]))
        self.world.ledger.suspend("web", [name], by="person", reason="test")

    def _resume(self, _data: st.DataObject) -> None:
        """To resume launches closes the breaker."""
        self.world.ledger.resume("web", ["launch", "terminate", "replace"], by="person", reason="test")
        self.site.checks.breaker.forget()

    def _bounds(self, data: st.DataObject) -> None:
        """A person edits the declaration; plays that run have read the old one."""
        spec = copy.deepcopy(self.site.spec)
        low = data.draw(st.integers(1, 3))
        spec["size"].update(min=low, max=low + data.draw(st.integers(0, 2)))
        self.site.spec = spec
        self.site.version += 1

    def _lose_ledger(self, _data: st.DataObject) -> None:
        """The machine with the ledger is lost, with all that ran on it, while no clone is in flight."""
        if any(not self.site.built(vm) for vm in self.site.vms.values()) or not self.site.vms:
            return
        for play in self.world.alive():
            play.kill()
        self.site.faults.waiting = {call: kind for call, kind in self.site.faults.waiting.items() if kind != "stale"}
        self.world.lose_ledger()
        self.world.alerts.firing.clear()
        self.world.alerts.resolved.clear()
        self.world.count("ledger lost")

    # ---- what has to hold

    @invariant()
    def an_address_is_leased_while_its_vm_is_there(self) -> None:
        """Invariant 3."""
        if self.world:
            self.site.checks.leases(dict(self.world.look("SELECT address, member FROM leases")))

    @invariant()
    def at_most_one_action_runs_and_it_has_the_lock(self) -> None:
        """Invariant 6."""
        if not self.world:
            return
        running = [row[0] for row in self.world.look("SELECT ident FROM actions WHERE state = 'running'")]
        holder = self.world.holder()
        good = len(running) <= 1 and (holder is None or running == [holder[0]])
        self.site.checks.ask(6, good, f"{running} run, and {holder} has the lock")

    def teardown(self) -> None:
        if self.world is None:
            return
        for line in self.world.log:
            note(line)
        try:
            self.settle()
        finally:
            TOTALS.update(self.world.counts)
            TOTALS.update({f"fault: {what}": count for what, count in self.site.faults.met.items()})
            TOTALS.update({f"asked {number:2d}": count for number, count in self.site.checks.asked.items()})
            TOTALS["plays"] += len(self.world.plays)
            TOTALS["VMs made"] += self.site.created
            self.world.close()

    def settle(self) -> None:
        """All trouble ends; what is left to do is done by reconcile. Invariant 7."""
        world, site = self.world, self.site
        site.faults.clear()
        world.ledger_down = False
        site.clones_boot, site.clone_seconds = True, 30.0
        for play in world.alive():
            play.finish()
        for address in site.base_healthy:
            site.base_healthy[address] = True
        for vm in site.vms.values():
            vm.marks.pop("protected", None)
        site.version += 1
        world.ledger.resume("web", ["launch", "terminate", "replace"], by="person", reason="the trouble is over")
        site.checks.breaker.forget()
        site.clock.advance(TTL_S + 1)
        rounds, found = 0, {"anything"}
        while found - TOLD:
            rounds += 1
            play = world.start("reconcile").finish()
            found = {finding["kind"] for finding in (play.run.facts.get("compared") or {}).get("findings", ())}
            note(f"reconcile {rounds}: {play} {play.error} {sorted(found)}")
            for finding in (play.run.facts.get("compared") or {}).get("findings", ()):
                note(f"    {finding['message']}")
            if rounds > 3:
                for what in (world.ledger.members("web"), site.vms, site.pool, site.targets, play.trail):
                    note(f"    {what}")
            if rounds > PATIENCE or play.state != "ended":
                raise Violation(7, f"after {rounds} reconciles there is still {sorted(found)}: {play.error}")
            site.clock.advance(700.0 if rounds < PATIENCE - 2 else 90_000.0)
        TOTALS[f"settled by {rounds} reconciles"] += 1
        check_converged(world)


def check_converged(world: Autoscaler) -> None:
    """Ledger, VMs, members, targets and leases say the same, nothing runs, and enough is in service. Invariant 7."""
    site = world.site
    spec = site.spec
    state = world.ledger.group_state("web", events=0)
    kept = {row["name"] for row in state["members"] if row["state"] == "quarantined"}
    serving = {vm.address for vm in site.vms.values() if vm.name not in kept}
    vms = {vm.name: vm.address for vm in site.vms.values()}

    def same(what: str, one: t.Any, other: t.Any) -> None:
        if one != other:
            raise Violation(7, f"{what}: {one} and {other}")

    same("ledger and vCenter", {row["name"]: row["address"] for row in state["members"]}, vms)
    same("leases and VMs", {row["member"]: row["address"] for row in state["leases"]}, vms)
    same("states", {row["state"] for row in state["members"]} - {"quarantined"}, {"in_service"} if serving else set())
    strangers = set(site.base_healthy) | {"10.0.0.99"}
    same("pool and VMs", {member.address for member in site.pool.values()} - strangers, serving)
    same("targets and VMs", {a.partition(":")[0] for a in site.targets} - strangers, serving)
    same("in service", site.serving() - strangers, serving)
    same("lock and action", (state["lock"], state["action"]), (None, None))
    if len(site.serving()) < min(spec["size"]["min"], spec["size"]["max"]):
        raise Violation(7, f"{len(site.serving())} in service, and min is {spec['size']['min']}")
