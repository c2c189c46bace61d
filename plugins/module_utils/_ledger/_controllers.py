# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Upkeep of the ledger: who dispatches from it, and what is old enough to go.
"""

from __future__ import annotations

from ._locks import Row, one
from ._schema import HAS_SQLALCHEMY, tables
from ._store import Store

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

#: What ended so long ago is deleted.
KEEP_HISTORY_S = 90 * 86400.0
#: So many events of a group stay whatever their age.
KEEP_EVENTS = 100
#: A controller that was silent for so long is not listed any more.
KEEP_CONTROLLER_S = 86400.0


class Controllers(Store):
    """Controllers that share the ledger, and its history."""

    def controller_alive(self, node: str, ttl: float) -> bool:
        """Say that *node* dispatches, for *ttl* seconds from now.

        :returns: whether it had been heard of in time: ``False`` for a new one, and for one that was away for so long
            that others may have taken its actions over.
        """
        with self.write() as connection:
            now = self.clock()
            known = one(connection, tables.controllers, tables.controllers.c.node == node)
            again = known is not None and known["expires_at"] > now
            values = {"heartbeat_at": now, "expires_at": now + ttl} | ({} if again else {"started_at": now})
            self.upsert(connection, tables.controllers, {"node": node}, values)
            return again

    def controllers(self) -> list[Row]:
        """``node, started_at, heartbeat_at, expires_at, alive``; by name."""
        with self.read() as connection:
            now = self.clock()
            query = sa.select(tables.controllers).order_by(tables.controllers.c.node)
            return [{**row, "alive": row["expires_at"] > now} for row in connection.execute(query).mappings()]

    def forget_controller(self, node: str) -> bool:
        """*node* ends in an orderly way: its entry goes. Whether it had one."""
        with self.write() as connection:
            query = sa.delete(tables.controllers).where(tables.controllers.c.node == node)
            return bool(connection.execute(query).rowcount)

    def prune_history(self, *, keep_s: float = KEEP_HISTORY_S, keep_events: int = KEEP_EVENTS) -> dict[str, int]:
        """Delete ended actions and events that are older than *keep_s* seconds; never what runs.

        The newest *keep_events* events of each group stay, and with an event its action.

        :returns: how many ``events`` and ``actions`` went.
        """
        events, actions, steps = tables.events.c, tables.actions.c, tables.steps.c
        with self.write() as connection:
            limit = self.clock() - keep_s
            gone = 0
            old = sa.select(events.group_name).where(events.at < limit).distinct()
            for group in list(connection.scalars(old)):
                newest = sa.select(events.id).where(events.group_name == group).order_by(events.id.desc())
                kept = list(connection.scalars(newest.limit(keep_events)))
                query = sa.delete(tables.events).where(events.group_name == group, events.at < limit)
                gone += connection.execute(query.where(events.id < min(kept)) if kept else query).rowcount
            dead = sa.select(actions.ident).where(
                actions.state != "running",
                actions.ended_at < limit,
                ~sa.exists().where(events.action == actions.ident),
            )
            idents = list(connection.scalars(dead))
            for start in range(0, len(idents), 500):
                some = idents[start : start + 500]
                connection.execute(sa.delete(tables.steps).where(steps.action.in_(some)))
                connection.execute(sa.delete(tables.actions).where(actions.ident.in_(some)))
            silent = tables.controllers.c.expires_at < self.clock() - KEEP_CONTROLLER_S
            connection.execute(sa.delete(tables.controllers).where(silent))
        return {"events": gone, "actions": len(idents)}
