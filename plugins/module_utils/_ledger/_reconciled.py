# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What a comparison with the backends found, written in one transaction under the lock of the reconcile action.
"""

from __future__ import annotations

import re
import typing as t

from ._actions import Actions
from ._locks import Row, one
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

HEALTH_KEYS = ("unhealthy_since", "missing_since")


class Reconciled(Actions):
    """Adopt, forget, and remember what was found."""

    def reconciled(
        self,
        ident: str,
        *,
        owner: str | None = None,
        adopt: t.Iterable[Row] = (),
        forget: t.Collection[str] = (),
        states: t.Iterable[Row] = (),
        findings: t.Iterable[t.Mapping[str, t.Any]] = (),
        leaked: t.Mapping[str, t.Any] | None = None,
    ) -> Row:
        """Write what a comparison found; all of it or nothing. Again with the same changes nothing.

        *forget* goes first, so that an address that is free by it can be leased to an adopted VM.

        :param adopt: ``{name, address, moid, state, action, created_at}``: VMs of the group that the ledger does not
            know, or knows wrongly. They get a row and the lease of their address. A lease is never taken from another
            member, and a member never gets a second one (invariant 3): such a row is a conflict.
        :param forget: names whose VMs are confirmed gone: rows and leases go.
        :param states: ``{name, state?, unhealthy_since?, missing_since?, note?}``: set as given, ``None`` clears; a
            name without a row is passed over.
        :param findings: what is kept as the group's last look, with *leaked*.
        :returns: ``adopted`` (names that are new or changed), ``forgotten`` (names that had a row or a lease) and
            ``conflicts``: ``{name, address, group, member, holds}``, where *group* and *member* have the lease of
            *address* (empty: nobody), and *holds* is another address that *name* has leased, or ``None``.
        :raises ConflictError: the action does not hold the lock: what was seen may be old.
        """
        adopt = list(adopt)
        with self.write() as connection:
            group = self._hold(connection, ident, owner)["group_name"]
            forgotten = self._known(connection, group, forget)
            self._remove_members(connection, group, forget)
            adopted, conflicts = [], []
            for row in adopt:
                changed, conflict = self._adopt(connection, group, ident, row)
                if changed:
                    adopted.append(row["name"])
                if conflict:
                    conflicts.append(conflict)
            self._skip_idents(connection, group, [row.get("action") or "" for row in adopt])
            for row in states:
                self._set_state(connection, group, row)
            found = {
                "action": ident,
                "at": self.clock(),
                "findings": [dict(finding) for finding in findings],
                "leaked": dict(leaked or {}),
            }
            self.upsert(connection, tables.reconciliations, {"group_name": group}, found)
        return {"adopted": adopted, "forgotten": forgotten, "conflicts": conflicts}

    # ---- inside a transaction

    @staticmethod
    def _known(connection: sa.Connection, group: str, names: t.Collection[str]) -> list[str]:
        members, leases = tables.members.c, tables.leases.c
        query = sa.union(
            sa.select(members.name).where(members.group_name == group, members.name.in_(list(names))),
            sa.select(leases.member).where(leases.group_name == group, leases.member.in_(list(names))),
        )
        return sorted(connection.scalars(query))

    def _adopt(self, connection: sa.Connection, group: str, ident: str, row: Row) -> tuple[bool, Row | None]:
        """Row and lease of one VM: whether anything was written, and what stood in the way of its lease."""
        members = tables.members
        known = one(connection, members, members.c.group_name == group, members.c.name == row["name"])
        values = {key: row[key] for key in ("address", "moid", "state", "action", "created_at") if row.get(key)}
        changed = known is None or any(known[key] != value for key, value in values.items())
        if changed:
            fresh = {} if known else {"state": "in_service", "note": f"adopted by {ident}"}
            self._put_member(connection, group, {"name": row["name"], **fresh, **values})
        if not row.get("address"):
            return changed, None
        leased, conflict = self._adopt_lease(connection, group, row)
        return changed or leased, conflict

    def _adopt_lease(self, connection: sa.Connection, group: str, row: Row) -> tuple[bool, Row | None]:
        leases, mine = tables.leases.c, (group, row["name"])
        holder = one(connection, tables.leases, leases.address == row["address"])
        if holder and (holder["group_name"], holder["member"]) == mine:
            return False, None
        held = one(connection, tables.leases, leases.group_name == group, leases.member == row["name"])
        if holder or held:
            return False, {
                "name": row["name"],
                "address": row["address"],
                "group": holder["group_name"] if holder else "",
                "member": holder["member"] if holder else "",
                "holds": held["address"] if held else None,
            }
        lease = {"address": row["address"], "group_name": group, "member": row["name"]}
        lease.update(action=row.get("action") or "", leased_at=self.clock())
        connection.execute(sa.insert(tables.leases).values(**lease))
        return True, None

    def _skip_idents(self, connection: sa.Connection, group: str, idents: t.Iterable[str]) -> None:
        """Count on from the highest number in *idents*: a rebuilt ledger never gives out an ident a second time."""
        pattern = re.compile(rf"{re.escape(group)}-([0-9]+)")
        numbers = [int(found[1]) for found in map(pattern.fullmatch, idents) if found]
        work = tables.work.c
        stored = connection.scalar(sa.select(work.sequence).where(work.group_name == group)) or 0
        if max(numbers, default=0) > stored:
            self.upsert(connection, tables.work, {"group_name": group}, {"sequence": max(numbers)})

    def _set_state(self, connection: sa.Connection, group: str, row: Row) -> None:
        members = tables.members
        where = (members.c.group_name == group, members.c.name == row["name"])
        if one(connection, members, *where) is None:
            return
        if row.get("state") or row.get("note"):
            self._put_member(connection, group, {key: row.get(key) for key in ("name", "state", "note")})
        values = {key: row[key] for key in HEALTH_KEYS if key in row}
        if "note" in row:
            values["note"] = row["note"] or ""
        if values:
            connection.execute(sa.update(members).where(*where).values(**values))
