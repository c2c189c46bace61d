# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Leases of addresses: one address, one member, in all groups together (invariant 3, A8).
"""

from __future__ import annotations

import itertools
import typing as t
from concurrent.futures import ThreadPoolExecutor

from .._common._errors import RefusedError
from ._actions import Actions
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

PROBES_AT_ONCE = 16
IN_FLIGHT = ("planned", "launching")


class Leases(Actions):
    """Give out and take back addresses."""

    def lease_addresses(
        self,
        ident: str,
        group: str,
        wanted: t.Sequence[str],
        candidates: t.Iterable[str],
        usable: t.Callable[[str], bool] = lambda address: True,
        *,
        owner: str | None = None,
        pool: str = "",
    ) -> dict[str, str]:
        """An address for each member name in *wanted*; all or none. A member that has one keeps it.

        *usable* asks the network, so it runs outside the transaction and for several candidates at once (it must be
        thread-safe); what another group leased meanwhile is noticed and the next candidate taken. The members appear in
        the ledger together with their leases: a refused lease leaves no planned member behind, which would count (A5).

        :param candidates: addresses in the order to be tried; leased ones are skipped.
        :param pool: how the pool is named in the error, for example its first and last address.
        :raises RefusedError: not enough addresses; ``result.code`` is ``no_address`` and nothing was leased.
        """
        search = _Search(candidates, usable)
        while True:
            wanted = list(dict.fromkeys(wanted))
            held, leased = self._read_leases(group, wanted)
            missing = [name for name in wanted if name not in held]
            found = search.take(len(missing), leased)
            if len(found) < len(missing):
                raise self._exhausted(group, pool, len(found), len(missing), search, leased)
            with self.write() as connection:
                self._hold(connection, ident, owner)
                if missing:
                    taken = connection.execute(
                        sa.select(tables.leases.c.address).where(
                            tables.leases.c.address.in_(found)
                            | ((tables.leases.c.group_name == group) & tables.leases.c.member.in_(missing))
                        )
                    ).first()
                    if taken:
                        continue  # somebody was faster; look again, what was asked on the network is remembered
                    now = self.clock()
                    rows = [
                        {"address": address, "group_name": group, "member": name, "action": ident, "leased_at": now}
                        for name, address in zip(missing, found, strict=True)
                    ]
                    connection.execute(sa.insert(tables.leases), rows)
                    for row in rows:
                        self._put_member(
                            connection, group, {"name": row["member"], "address": row["address"], "action": ident}
                        )
                    held.update(zip(missing, found, strict=True))
            return {name: held[name] for name in wanted}

    def preview_leases(
        self,
        group: str,
        wanted: t.Sequence[str],
        candidates: t.Iterable[str],
        usable: t.Callable[[str], bool] = lambda address: True,
        *,
        pool: str = "",
    ) -> dict[str, str]:
        """What :meth:`lease_addresses` would answer now. Changes nothing."""
        search = _Search(candidates, usable)
        held, leased = self._read_leases(group, wanted)
        missing = [name for name in wanted if name not in held]
        found = search.take(len(missing), leased)
        if len(found) < len(missing):
            raise self._exhausted(group, pool, len(found), len(missing), search, leased)
        return {**held, **dict(zip(missing, found, strict=True))}

    def release_leases(self, group: str, members: t.Sequence[str]) -> list[str]:
        """Free the addresses of *members*, whose VMs must be gone, and drop the members; the addresses come back."""
        leases = tables.leases
        with self.write() as connection:
            where = (leases.c.group_name == group, leases.c.member.in_(list(members)))
            freed = list(connection.scalars(sa.select(leases.c.address).where(*where).order_by(leases.c.address)))
            self._remove_members(connection, group, members)
        return freed

    def release_unseen(
        self,
        ident: str,
        *,
        names: t.Collection[str],
        addresses: t.Collection[str] = (),
        grace: float,
        owner: str | None = None,
    ) -> list[str]:
        """Give up launches of earlier actions whose VMs never came to be: rows and leases go; their names come back.

        Such a member counts as owned (A5) and keeps its address, and nothing else would ever end that. It is given up
        when it is planned or launching, its action is another one that no longer runs, neither its name is in *names*
        nor its address in *addresses*, and both its last entry and the end of its action are more than *grace* seconds
        ago: a clone task of a dead play may still run in vCenter, and its VM need not be listed yet. What went is noted
        as ``released`` in the detail of the running step.

        :param names: of all VMs with the group's mark, as vCenter shows them now.
        :param addresses: of those VMs; a VM that somebody renamed still holds its address.
        :param grace: seconds that a clone may take.
        :raises ConflictError: the action does not hold the lock: what was seen may be old.
        """
        with self.write() as connection:
            group = self._hold(connection, ident, owner)["group_name"]
            gone = self._unseen(connection, group, ident, names, addresses, grace)
            if gone:
                self._remove_members(connection, group, gone)
                self._note_released(connection, ident, gone)
        return gone

    def preview_unseen(
        self,
        group: str,
        ident: str,
        *,
        names: t.Collection[str],
        addresses: t.Collection[str] = (),
        grace: float,
    ) -> list[str]:
        """What :meth:`release_unseen` would answer now. Changes nothing."""
        with self.read() as connection:
            return self._unseen(connection, group, ident, names, addresses, grace)

    def _unseen(
        self,
        connection: sa.Connection,
        group: str,
        ident: str,
        names: t.Collection[str],
        addresses: t.Collection[str],
        grace: float,
    ) -> list[str]:
        members, actions = tables.members, tables.actions
        query = (
            sa.select(members.c.name, members.c.address, members.c.updated_at, actions.c.state, actions.c.ended_at)
            .join_from(members, actions, members.c.action == actions.c.ident, isouter=True)
            .where(members.c.group_name == group, members.c.state.in_(IN_FLIGHT), members.c.action != ident)
            .order_by(members.c.created_at, members.c.name)
        )
        return [
            row.name
            for row in connection.execute(query)
            if row.state != "running"
            and row.name not in names
            and not (row.address and row.address in addresses)
            and self.clock() - max(row.updated_at, row.ended_at or 0.0) > grace
        ]

    @staticmethod
    def _note_released(connection: sa.Connection, ident: str, names: list[str]) -> None:
        where = (tables.steps.c.action == ident, tables.steps.c.state == "running")
        detail = connection.scalar(sa.select(tables.steps.c.detail).where(*where)) or {}
        noted = {**detail, "released": [*detail.get("released", ()), *names]}
        connection.execute(sa.update(tables.steps).where(*where).values(detail=noted))

    def _read_leases(self, group: str, wanted: t.Sequence[str]) -> tuple[dict[str, str], set[str]]:
        """Addresses that the members in *wanted* hold, and every leased address."""
        with self.read() as connection:
            rows = connection.execute(sa.select(tables.leases)).mappings().all()
        held = {row["member"]: row["address"] for row in rows if row["group_name"] == group and row["member"] in wanted}
        return held, {row["address"] for row in rows}

    def _exhausted(
        self, group: str, pool: str, free: int, needed: int, search: _Search, leased: set[str]
    ) -> RefusedError:
        answering = search.answering
        facts = [f"{len(leased & set(search.seen))} of the candidates leased"]
        if answering:
            facts.append(f"{len(answering)} answering on the network without a lease ({', '.join(answering[:5])})")
        label = pool or (f"{search.seen[0]}-{search.seen[-1]}" if search.seen else "no candidates")
        return RefusedError(
            f"address pool of group {group} ({label}) has {free} free, {needed} needed: {'; '.join(facts)}",
            remedy="Widen network.start and network.end, scale in, or find out what answers on those addresses",
            result={"code": "no_address", "free": free, "needed": needed, "answering": answering},
        )


class _Search:
    """Usable candidates in order; each is asked on the network once."""

    def __init__(self, candidates: t.Iterable[str], usable: t.Callable[[str], bool]) -> None:
        self._rest = iter(dict.fromkeys(candidates))
        self._usable = usable
        self._good: list[str] = []
        self.seen: list[str] = []
        self.answering: list[str] = []

    def take(self, count: int, leased: set[str]) -> list[str]:
        """Up to *count* usable addresses that are not in *leased*."""
        good = [address for address in self._good if address not in leased]
        if count <= len(good):
            return good[:count]
        with ThreadPoolExecutor(max_workers=min(PROBES_AT_ONCE, max(1, count))) as pool:
            while len(good) < count:
                batch = list(itertools.islice(self._fresh(leased), min(PROBES_AT_ONCE, count - len(good))))
                if not batch:
                    break
                for address, usable in zip(batch, pool.map(self._usable, batch), strict=True):
                    (good if usable else self.answering).append(address)
        self._good = good
        return good[:count]

    def _fresh(self, leased: set[str]) -> t.Iterator[str]:
        for address in self._rest:
            self.seen.append(address)
            if address not in leased:
                yield address
