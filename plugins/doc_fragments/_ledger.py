# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the ledger is, and that its modules run on the controller."""

    DOCUMENTATION = r"""
options:
  ledger:
    description:
      - URL of the ledger in the form that SQLAlchemy uses, for example V(sqlite:////var/lib/onprem-autoscale/ledger.db).
        A SQLite file and its folder are made when they are missing, readable for their owner only. The file must lie on
        a local disk, as SQLite's journal needs one.
      - If not set, the environment variable E(ONPREM_AUTOSCALE_LEDGER) of C(ansible-playbook) is used.
      - A password in the URL is never printed by this collection. Better keep it out of the URL (C(.pgpass)).
    type: str
requirements:
  - SQLAlchemy >= 2.0, where C(ansible-playbook) runs
notes:
  - This is an action plugin. It runs on the controller, inside the process of the task, whatever the host of the play
    is, so that a journal entry costs milliseconds.
"""
