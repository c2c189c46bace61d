# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Which site may act on the groups of a scope, as this one store knows it (D6). What several stores say together is
judged by the planner.
"""

from __future__ import annotations

from .._common._errors import ConflictError
from ._locks import Row, iso, one
from ._schema import tables
from ._store import Store


class Epochs(Store):
    """One record a scope; its epoch only ever grows."""

    def epoch(self, scope: str) -> Row | None:
        """``scope, epoch, holder, alone, granted_at, by, reason``, or ``None``."""
        with self.read() as connection:
            return one(connection, tables.epochs, tables.epochs.c.scope == scope)

    def write_epoch(
        self, scope: str, epoch: int, holder: str, *, alone: bool = False, by: str = "", reason: str = ""
    ) -> bool:
        """Store that *holder* has *epoch* of *scope*; whether that changed anything.

        The same epoch and holder again only sets *alone* and keeps when and why.

        :raises ConflictError: there is a higher epoch, or the same one of another holder. Nothing is changed.
        """
        if epoch < 1 or not holder:
            raise ValueError(f"an epoch is at least 1 and has a holder, not {epoch!r} and {holder!r}")
        with self.write() as connection:
            found = one(connection, tables.epochs, tables.epochs.c.scope == scope)
            if found is not None and found["epoch"] >= epoch and (found["epoch"], found["holder"]) != (epoch, holder):
                raise ConflictError(
                    f"{holder} cannot have epoch {epoch} of {scope} in the ledger {self.name}: {found['holder']} has "
                    f"had epoch {found['epoch']} since {iso(found['granted_at'])}",
                    remedy="Somebody took it meanwhile; look at it with state=checked before it is taken again",
                    result={"code": "epoch_taken", "record": found},
                )
            if found is not None and found["epoch"] == epoch:
                values = {"alone": alone}
                if found["alone"] == alone:
                    return False
            else:
                values = {"epoch": epoch, "holder": holder, "alone": alone, "by": by, "reason": reason}
                values["granted_at"] = self.clock()
            self.upsert(connection, tables.epochs, {"scope": scope}, values)
            return True
