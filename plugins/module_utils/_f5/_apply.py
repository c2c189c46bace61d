# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Carries out what is wanted of the members of one pool: read, plan, one transaction, read again; wait for the monitor
before a member takes traffic, and for its connections before it takes none.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import AutoscaleError, ConflictError, RefusedError, UnsettledError
from ._client import BigIP, MissingObjectError
from ._converge import ATTEMPTS, converge
from ._device import finish, sync_state
from ._members import Goal, Wanted, changes_for, expected
from ._pools import (
    DISABLED,
    ENABLED,
    FORCED_OFFLINE,
    Member,
    Node,
    Pool,
    find_pool,
    pools_using,
    read_nodes,
    read_pool,
    refresh,
)
from ._report import ABSENT, DRAINED, PRESENT, Report

STATES = (PRESENT, ABSENT, ENABLED, DISABLED, FORCED_OFFLINE, DRAINED)


@dataclasses.dataclass(frozen=True)
class Options:
    """How to do it; times are seconds."""

    wait: bool = True
    wait_timeout: float = 120
    wait_interval: float = 1.0
    drain_timeout: float = 120
    drain_deadline: str = "force"
    remove_node: bool = True
    allow_partial: bool = False
    save: bool = True
    sync_group: str | None = None


class MembersJob:
    """One call of ``f5_pool_member``; ``report`` has the diff and the warnings."""

    def __init__(
        self, client: BigIP, pool: str, partition: str, wanted: t.Sequence[Wanted], state: str, options: Options
    ) -> None:
        self.client = client
        self.name = pool
        self.partition = partition
        self.wanted = list(wanted)
        self.state = state
        self.options = options
        self._started = client.clock()
        self._nodes: dict[str, Node] | None = None
        found = find_pool(client, pool, partition) if state == ABSENT else read_pool(client, pool, partition)
        self.pool_missing = found is None
        self.report = Report(self.wanted, state, found or Pool(pool, partition, "", "", "", {}))

    @property
    def pool(self) -> Pool:
        """The pool as it was read last."""
        return self.report.now

    @pool.setter
    def pool(self, pool: Pool) -> None:
        self.report.now = pool

    # -- the whole call ---------------------------------------------------------------------------------------------

    def run(self, *, check_mode: bool) -> dict[str, t.Any]:
        """Do it, or say what would be done.

        :raises AutoscaleError: with the rows as they are now, when a member did not get there.
        """
        if self.state in (DISABLED, FORCED_OFFLINE):
            for want in self._missing():
                self._fail(want, f"is not a member of {self.pool.full_name}")
            self._raise_failures([])
        if check_mode:
            self._predict()
            return self.report.result([])
        try:
            self._carry_out()
        except AutoscaleError as error:
            # What did change must survive a reboot and a failover, whatever came after it.
            try:
                done = self._finish()
            except AutoscaleError as second:
                done = []
                error.message = f"{error.message.rstrip('.')}; and then: {second.message}"
            error.result = {**self._known(done), **error.result}
            raise
        try:
            done = self._finish()
        except AutoscaleError as error:
            error.result = {**self._known([]), **error.result}
            raise
        self._raise_failures(done)
        return self.report.result(done)

    def _finish(self) -> list[str]:
        group = self.options.sync_group
        if not self.report.changed():
            if group and sync_state(self.client)[0] == "Changes Pending":
                # Whose changes they are is not known, so they are not pushed by the way.
                self.report.warnings.append(f"Nothing to do, but {self.client.name} has changes that are not synced")
            return []
        return finish(self.client, keep=self.options.save, group=group)

    def _known(self, done: t.Sequence[str]) -> dict[str, t.Any]:
        return {**self.report.result(done), "diff": self.report.diff()}

    def _raise_failures(self, done: t.Sequence[str]) -> None:
        failure = self.report.failure(self.options.allow_partial, done)
        if failure is not None:
            raise failure

    def _carry_out(self) -> None:
        if self.state == PRESENT:
            self._converge([Goal(want) for want in self.wanted])
        elif self.state == ENABLED:
            self._enable()
        elif self.state == DRAINED:
            self._drain()
        elif self.state == ABSENT:
            self._remove()
        else:
            there = [want for want in self.wanted if want.key in self.pool.members]
            self._converge([Goal(want, standing=self.state, create=False) for want in there])
        for note in self.report.notes.values():
            if note.seconds is None:
                note.seconds = self._elapsed()

    def _converge(self, goals: t.Sequence[Goal]) -> None:
        """Bring the members to *goals*."""

        def look(failed: bool) -> None:
            if failed:
                self._nodes = None
            self.pool = self._read()

        changes = converge(
            self.client,
            lambda: changes_for(self.pool, goals, self._nodes_for(goals)),
            lambda change: (change.method, change.path, change.body),
            look,
        )
        if not changes:
            return
        left = ", ".join(f"{change.key} ({change.reason} {dict(change.body or {})})" for change in changes)
        raise RefusedError(
            f"{self.client.name} accepted the change of {self.pool.full_name} but does not show it: {left}",
            remedy="Look for another program that writes to this pool, and at /var/log/ltm on the device.",
        )

    def _read(self) -> Pool:
        if self.state == ABSENT:
            return find_pool(self.client, self.name, self.partition) or dataclasses.replace(self.pool, members={})
        return read_pool(self.client, self.name, self.partition)

    def _nodes_for(self, goals: t.Sequence[Goal]) -> dict[str, Node]:
        """Nodes matter only for a member that is new: it takes the name of a node that has its address."""
        if all(goal.wanted.key in self.pool.members or not goal.present or not goal.create for goal in goals):
            return {}
        if self._nodes is None:
            self._nodes = read_nodes(self.client, self.partition)
        return self._nodes

    # -- enabled ----------------------------------------------------------------------------------------------------

    def _enable(self) -> None:
        """Missing ones come disabled, and each is enabled once its monitor calls it available (invariant 5)."""
        first = []
        for want in self.wanted:
            member = self.pool.members.get(want.key)
            # A member that is forced down is not checked by its monitor until it is up again, still disabled.
            held = member is None or member.standing not in (ENABLED, DISABLED)
            first.append(Goal(want, standing=DISABLED if held else None))
        self._converge(first)
        unchecked = [want.label for want in self.wanted if not self._member(want).monitored]
        if unchecked:
            self.report.warnings.append(
                f"No monitor watches {', '.join(unchecked)} in {self.pool.full_name}: enabled without knowing whether "
                "they answer. Give the pool a monitor."
            )
        options = self.options
        waiter = self.client.waiter(options.wait_timeout if options.wait else 0, options.wait_interval)
        waiting = list(self.wanted)
        while True:
            ready = [want for want in waiting if self._ready(want)]
            if ready:
                self._converge([Goal(want, standing=ENABLED, create=False) for want in ready])
                waiting = [want for want in waiting if want not in ready]
                for want in ready:
                    self._check_enabled(want)
            if not waiting or not waiter.pause():
                break
            self.pool = refresh(self.client, self.pool)
        for want in waiting:
            member = self._member(want)
            self.report.notes[want.key].timed_out = True
            stands = "is enabled" if member.standing == ENABLED else "stays disabled"
            self._fail(
                want,
                f"{stands}, not available after {waiter.elapsed:.0f} s: {member.availability}, "
                f"{member.reason or 'no reason given'}",
            )

    def _ready(self, want: Wanted) -> bool:
        member = self.pool.members.get(want.key)
        return member is not None and (member.availability == "available" or not member.monitored)

    def _check_enabled(self, want: Wanted) -> None:
        self.report.notes[want.key].seconds = self._elapsed()
        member = self.pool.members.get(want.key)
        if member is None:
            self._fail(want, "was removed from the pool by somebody else")
        elif not member.node_enabled:
            self._fail(want, f"is enabled, but its node is not: {member.reason or 'disabled by parent'}")

    # -- drained ----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """No new connections, wait for the running ones, then nothing at all; who is left is counted."""
        there = [want for want in self.wanted if want.key in self.pool.members]
        for want in self._missing():
            note = self.report.notes[want.key]
            note.msg, note.drained, note.connections_left = "is not a member: nothing to drain", True, 0
        ended = [want for want in there if self._member(want).standing == FORCED_OFFLINE]
        for want in ended:
            self._count_left(want)
        waiting = [want for want in there if want not in ended]
        self._converge([self._stand(want, DISABLED) for want in waiting])
        options = self.options
        waiter = self.client.waiter(options.drain_timeout if options.wait else 0, options.wait_interval)
        while waiting:
            idle = [want for want in waiting if self._idle(want)]
            self._force(idle)
            waiting = [want for want in waiting if want not in idle]
            if not waiting or not waiter.pause():
                break
            self.pool = refresh(self.client, self.pool)
        if not waiting:
            return
        left = {want.label: self._member(want).connections for want in waiting}
        counted = ", ".join(f"{label}: {count}" for label, count in left.items())
        if not options.wait:
            for want in waiting:
                self._count_left(want)
                self.report.notes[want.key].msg = "disabled, still has connections"
        elif options.drain_deadline == "force":
            self._force(waiting)
            self.report.warnings.append(
                f"Forced offline after {options.drain_timeout:g} s with connections left ({counted}); "
                f"serviceDownAction of {self.pool.full_name} is {self.pool.service_down_action}"
            )
        else:
            for want in waiting:
                self._count_left(want)
                self.report.notes[want.key].timed_out = True
                self._fail(
                    want,
                    f"is disabled, but has {self._member(want).connections} connections after {waiter.elapsed:.0f} s",
                )

    def _idle(self, want: Wanted) -> bool:
        member = self.pool.members.get(want.key)
        return member is None or member.connections == 0

    def _force(self, members: t.Sequence[Wanted]) -> None:
        if not members:
            return
        self._converge([self._stand(want, FORCED_OFFLINE) for want in members])
        for want in members:
            self._count_left(want)

    def _count_left(self, want: Wanted) -> None:
        note, member = self.report.notes[want.key], self.pool.members.get(want.key)
        note.connections_left = member.connections if member else 0
        note.drained = note.connections_left == 0
        note.seconds = self._elapsed()

    def _stand(self, want: Wanted, standing: str) -> Goal:
        return Goal(want, standing=standing, create=False, keep_attributes=True)

    # -- absent -----------------------------------------------------------------------------------------------------

    def _remove(self) -> None:
        if not self.pool_missing:
            self._converge([Goal(want, present=False) for want in self.wanted])
        if not self.options.remove_node:
            return
        nodes = read_nodes(self.client, self.partition)
        said: dict[str, str] = {}
        for want in self.wanted:
            address = want.key.address
            if address not in said:
                said[address] = self._remove_node(nodes.get(address))
            self.report.notes[want.key].node = said[address]

    def _remove_node(self, node: Node | None) -> str:
        """The device itself is asked: it refuses while any pool uses the node, which no look beforehand can promise."""
        if node is None:
            return "absent"
        if not self._own(node):
            return "kept"
        for _attempt in range(ATTEMPTS):
            try:
                self.client.call("DELETE", node.path)
            except MissingObjectError:
                return "absent"
            except ConflictError:
                return "kept"
            except UnsettledError as error:
                failure = error
                if node.address not in read_nodes(self.client, self.partition):
                    return "removed"
            else:
                return "removed"
        raise failure

    def _own(self, node: Node) -> bool:
        """A node with a name of its own was made by a person: it stays."""
        return node.name == node.address and node.partition == self.partition

    # -- small things -----------------------------------------------------------------------------------------------

    def _predict(self) -> None:
        """Check mode: what would stand there, taking for granted that monitors and connections play along."""
        standing = {ENABLED: ENABLED, DISABLED: DISABLED, FORCED_OFFLINE: FORCED_OFFLINE, DRAINED: FORCED_OFFLINE}
        self.report.predicted = {}
        for want in self.wanted:
            member = self.pool.members.get(want.key)
            goal = Goal(
                want,
                present=self.state != ABSENT,
                standing=standing.get(self.state),
                keep_attributes=self.state == DRAINED,
            )
            gone = member is None and self.state not in (PRESENT, ENABLED)
            self.report.predicted[want.key] = None if gone else expected(member, goal)
        if self.state == ABSENT and self.options.remove_node:
            nodes = read_nodes(self.client, self.partition)
            users = pools_using(self.client, [want.key.address for want in self.wanted])
            for want in self.wanted:
                node = nodes.get(want.key.address)
                going = {other.key for other in self.wanted}
                others = [pool for pool in users[want.key.address] if pool != self.pool.full_name]
                same = [key for key in self.pool.members if key.address == want.key.address and key not in going]
                if node is None:
                    self.report.notes[want.key].node = "absent"
                else:
                    self.report.notes[want.key].node = "kept" if others or same or not self._own(node) else "removed"

    def _missing(self) -> list[Wanted]:
        return [want for want in self.wanted if want.key not in self.pool.members]

    def _member(self, want: Wanted) -> Member:
        """The member as last read; one that somebody removed meanwhile counts as offline."""
        gone = Member(
            str(want.key), self.partition, *want.key, monitored=True, availability="offline", reason="removed"
        )
        return self.pool.members.get(want.key, gone)

    def _fail(self, want: Wanted, msg: str) -> None:
        note = self.report.notes[want.key]
        note.failed, note.msg, note.seconds = True, msg, self._elapsed()

    def _elapsed(self) -> float:
        return self.client.clock() - self._started
