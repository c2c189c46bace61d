# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The ledger's own error. Locks and addresses use the common kin (``ConflictError``, ``RefusedError``).
"""

from __future__ import annotations

from .._common._errors import AutoscaleError


class LedgerError(AutoscaleError):
    """The ledger's store cannot be opened, read or written; names the URL (never its password) and the remedy."""
