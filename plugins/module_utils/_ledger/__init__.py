# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The ledger: durable state of the scaling groups. ``Ledger.open(url)`` is the door.
"""

from __future__ import annotations

from ._controllers import Controllers
from ._epoch_stores import Answer, ask_stores
from ._epochs import Epochs
from ._errors import LedgerError
from ._leases import Leases
from ._reconciled import Reconciled
from ._state import State


class Ledger(Leases, Reconciled, Controllers, Epochs, State):
    """Actions, leases, comparisons, controllers, epochs and the questions about them, over one store."""


__all__ = ["Answer", "Epochs", "Ledger", "LedgerError", "ask_stores"]
