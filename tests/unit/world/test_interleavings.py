# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers, one group: every place where one play can meet another one (invariants 1 to 7).

The first play stops before each task and at each place inside a module where half of the work is done; there it lives
on, is killed, or is stopped until its lock has run out. Then the second one runs: to its end, or to each of its own
tasks before the first comes back. All places are tried; nothing is drawn. What a play reads and what it writes is
checked as in the state machine.
"""

from __future__ import annotations

import functools
import itertools
import typing as t

import pytest
from unit.world.autoscaler import TTL_S, Autoscaler, Play
from unit.world.site_checks import Violation
from unit.world.world_machine import check_converged, declare

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import _victims

KINDS = ("scale_out", "scale_in", "reconcile")
PAIRS = list(itertools.product(KINDS[:2], KINDS))
#: Inside of modules a play cannot come to its next journal entry, so a late one does at most the rest of that module.
LATE_WRITES = 4


def a_world() -> Autoscaler:
    """A group of three of at most four: either direction may act."""
    return _grown().copy()


@functools.cache
def _grown() -> Autoscaler:
    world = Autoscaler(declare(min=1, max=4, step_out=1, step_in=1))
    world.start("scale_out", count=2).finish()
    world.site.clock.advance(400)
    return world


def run_to(play: Play, place: int) -> bool:
    """Go on to the *place*-th stop; false when the play has ended before."""
    return all(play.advance() for _unused in range(place + 1))


def check(world: Autoscaler) -> None:
    """After all of it one reconcile leaves nothing that is lost or left over."""
    world.site.checks.leases(dict(world.look("SELECT address, member FROM leases")))
    world.site.clock.advance(700)
    play = world.start("reconcile").finish()
    assert play.state == "ended", play.error
    check_converged(world)


@functools.cache
def stops(kind: str) -> tuple[str, ...]:
    """Where an undisturbed play stops."""
    world = a_world()
    trail = tuple(world.start(kind).finish().trail)
    world.close()
    return trail


@pytest.mark.parametrize(("first", "second"), [("scale_out", "scale_out"), ("scale_in", "reconcile")])
def test_a_second_play_beside_one_that_lives_is_refused(first, second):
    for place in range(len(stops(first))):
        world = a_world()
        one = world.start(first)
        assert run_to(one, place)
        holds = world.holder() is not None
        two = world.start(second).finish()
        assert (two.actor.ident == "") == holds, f"{second} at {one.trail[-1]!r} of {first}"
        one.finish()
        check(world)
        world.close()


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_second_play_after_one_that_was_killed_ends_as_if_nothing_had_happened(first, second):
    """Invariant 7: the same direction and reconcile carry on what was cut off."""
    undisturbed = a_world()
    undisturbed.start(first).finish()
    names = {vm.name for vm in undisturbed.site.vms.values()}
    undisturbed.close()
    trail = stops(first)
    for place in range(len(trail)):
        world = a_world()
        one = world.start(first)
        assert run_to(one, place)
        planned = one.actor.plan is not None and trail.index("End the action") >= place > trail.index("Decide") + 1
        one.kill()
        world.site.clock.advance(TTL_S + 1)
        two = world.start(second).finish()
        assert two.state == "ended", f"{two.error} after {one.trail[-1]!r}"
        if planned and second in (first, "reconcile"):
            assert {vm.name for vm in world.site.vms.values()} == names, f"killed at {one.trail[-1]!r}"
        check(world)
        world.close()


def test_a_victim_that_is_protected_is_seen(monkeypatch):
    """The check of invariant 10 can fail: random histories hardly ever protect just whom a scale-in would choose."""
    monkeypatch.setattr(_victims, "may_leave", lambda member: not (member.base or member.in_flight))
    world = a_world()
    for vm in world.site.vms.values():
        vm.marks.update(protected="true", protected_at=str(world.site.clock()))
    world.site.clock.advance(10)
    with pytest.raises(Violation) as found:
        world.start("scale_in").finish()
    assert found.value.number == 10
    world.close()


@pytest.mark.parametrize(("first", "second"), [("scale_out", "reconcile"), ("scale_in", "scale_out")])
def test_a_play_that_comes_back_late_stops_at_its_next_entry(first, second):
    """Stopped at each place until its lock has run out, and back at each place of the other."""
    runs = 0
    for place, back in _meetings(first, second, every=8):
        runs += 1
        _meet(first, second, place, back)
    assert runs > 30


@pytest.mark.nightly
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_play_that_comes_back_late_stops_at_its_next_entry_all_places(first, second):
    for place, back in _meetings(first, second, every=1):
        _meet(first, second, place, back)


def _meetings(first: str, second: str, every: int) -> t.Iterator[tuple[int, int]]:
    """Each place of the first play with each *every*-th of the second."""
    places, backs = len(stops(first)), len(stops(second)) + 20
    for number, (place, back) in enumerate(itertools.product(range(places), range(0, backs, 2))):
        if number % every == 0:
            yield place, back


def _meet(first: str, second: str, place: int, back: int) -> None:
    world = a_world()
    one = world.start(first)
    assert run_to(one, place)
    one.state = "frozen"
    world.site.clock.advance(TTL_S + 1)
    two = world.start(second)
    run_to(two, back)
    one.state, one.actor.late = "running", True
    one.finish()
    two.finish()
    assert world.site.checks.late_writes <= LATE_WRITES, f"{first} at {place}, {second} at {back}: {one.trail}"
    check(world)
    world.close()
