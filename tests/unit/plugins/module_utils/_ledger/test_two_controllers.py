# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers on one ledger: every order in which the journal entries of two plays can come (invariants 6 and 7).

Each play has its own connection. A crash is a play whose other entries come no more, or come after all of the other's,
so the orders below hold every crash; the expiry of the lock lies between any two entries. A play never stops by itself
here: it goes on with its entries after each refusal, which is worse than a real one does.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import pytest
import sqlalchemy as sa

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, NotFoundError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import tables

TTL = 100.0
FULL = ("start", "plan", "step", "finish")
SHORT = ("start", "step"), ("start", "finish")
PLAN = {"launches": [{"name": "vm", "slot": 1}], "size_before": 1}
#: How the two plays start: direction, whether they name the action, attempt.
CASES = {
    "the next run goes on": (("out", False, None), ("out", False, None)),
    "another direction": (("out", False, None), ("in", False, None)),
    "reconcile comes": (("out", False, None), ("reconcile", False, None)),
    "two reconciles": (("reconcile", False, None), ("reconcile", False, None)),
    "the same name by hand": (("out", True, None), ("out", True, None)),
    "launched again": (("out", True, 1), ("out", True, 2)),
    "a person goes on": (("out", True, 1), ("out", False, None)),
}


@dataclasses.dataclass
class Play:
    """One run of a playbook; its ident is known once its start was let in."""

    ledger: Ledger
    owner: str
    direction: str
    ident: str | None
    attempt: int | None
    named: bool

    def call(self, group: str, entry: str) -> bool:
        """Make the entry; whether it was let in."""
        try:
            if entry == "start":
                self.ident = self.ledger.start_action(
                    group, self.direction, ident=self.ident, owner=self.owner, ttl=TTL, attempt=self.attempt
                )
            elif entry == "plan":
                self.ledger.record_plan(self.ident, PLAN, [{"name": "vm"}], owner=self.owner)
            elif entry == "step":
                self.ledger.begin_step(self.ident, "clone", owner=self.owner)
            else:
                self.ledger.finish_action(self.ident, state="succeeded", message=self.owner, owner=self.owner)
        except (ConflictError, NotFoundError):
            return False
        return True


class Rules:
    """What may happen, said independently of the ledger."""

    def __init__(self) -> None:
        self.holder: Play | None = None
        self.expires = 0.0
        self.ended: set[str] = set()
        self.highest: dict[str, int] = {}

    def may_start(self, play: Play, now: float) -> bool:
        if play.attempt is not None and play.attempt <= self.highest.get(play.ident or "", -1):
            return False
        if self.holder and self.expires > now:
            mine = play.named and self.holder.ident == play.ident
            return mine and None not in (play.attempt, self.holder.attempt) and play.attempt > self.holder.attempt
        return not play.named or play.ident not in self.ended

    def started(self, play: Play, now: float) -> None:
        before, self.holder, self.expires = self.holder, dataclasses.replace(play), now + TTL
        if before and before.ident != play.ident:
            self.ended.add(before.ident)
        if play.attempt is not None:
            self.highest[play.ident] = play.attempt

    def may_write(self, play: Play) -> bool:
        return bool(self.holder) and (self.holder.owner, self.holder.ident) == (play.owner, play.ident)


def orders(first: t.Sequence[str], second: t.Sequence[str]) -> t.Iterator[list[str]]:
    """Every order of the entries of two plays (``a:start``), without and with one expiry between any two entries."""
    length = len(first) + len(second)
    for mine in itertools.combinations(range(length), len(first)):
        names = ["a" if place in mine else "b" for place in range(length)]
        plays = {"a": first, "b": second}
        order = [f"{name}:{plays[name][names[:place].count(name)]}" for place, name in enumerate(names)]
        yield order
        for place in range(1, len(order)):
            yield [*order[:place], "expiry", *order[place:]]


def look(ledger: Ledger, group: str) -> tuple[str | None, str | None, list[str]]:
    """The running action, the action that has the lock, and the actions that events tell of."""
    actions, locks, events = tables.actions.c, tables.locks.c, tables.events.c
    running = sa.select(actions.ident).where(actions.group_name == group, actions.state == "running")
    told = sa.select(events.action).where(events.group_name == group).order_by(events.action)
    with ledger.read() as connection:
        lock = connection.scalar(sa.select(locks.action).where(locks.group_name == group))
        return connection.scalar(running), lock, list(connection.scalars(told))


def check(group: str, order: list[str], case: str, ledgers: tuple[Ledger, Ledger], clock: t.Any) -> None:
    rules, plays, told = Rules(), {}, f"{case}: {order}"
    for name, ledger, (direction, named, attempt) in zip("ab", ledgers, CASES[case], strict=True):
        plays[name] = Play(ledger, name, direction, f"{group}-1" if named else None, attempt, named)
    for what in order:
        if what == "expiry":
            clock.tick(TTL)
            continue
        name, entry = what.split(":")
        play = plays[name]
        if entry == "start":
            allowed = rules.may_start(play, clock.now)
            assert play.call(group, entry) == allowed, (told, what)
            if allowed:
                assert play.ident not in rules.ended, (told, what)
                rules.started(play, clock.now)
        elif play.ident is None:
            continue  # refused at its start: it has no action to write to
        elif entry == "finish" and play.ident in rules.ended:
            before = look(play.ledger, group)
            play.call(group, entry)
            assert look(play.ledger, group) == before, (told, what, "a late end changes nothing")
        else:
            allowed = rules.may_write(play)
            assert play.call(group, entry) == allowed, (told, what)
            if allowed:
                rules.expires = clock.now + TTL
            if allowed and entry == "finish":
                rules.ended.add(play.ident)
                rules.holder = None
    running = rules.holder.ident if rules.holder else None
    assert look(ledgers[1], group) == (running, running, sorted(rules.ended)), (told, "one event an action")


@pytest.fixture
def ledgers(url, clock):
    """Two controllers, each with its own connections."""
    with Ledger.open(url, clock=clock) as first, Ledger.open(url, clock=clock) as second:
        yield first, second


@pytest.mark.parametrize("case", CASES)
def test_never_two_holders(ledgers, clock, case):
    """Invariant 6: entries are let in for exactly one play at a time, in all orders; no action ends twice (T4)."""
    for number, order in enumerate(orders(*SHORT)):
        check(f"g{number}", order, case, ledgers, clock)


@pytest.mark.nightly
@pytest.mark.parametrize("case", CASES)
def test_never_two_holders_in_all_orders_of_whole_plays(ledgers, clock, case):
    """The same with a plan, and with both plays whole: 70 orders, each with an expiry at any place."""
    for number, order in enumerate(orders(FULL, FULL)):
        check(f"g{number}", order, case, ledgers, clock)


def test_orders_are_all_there():
    assert len({tuple(order) for order in orders(*SHORT)}) == 6 * 4
    assert len({tuple(order) for order in orders(FULL, FULL)}) == 70 * 8
