# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A small process beside a play prolongs the lock of its action, so that a short lock covers steps of any length
(invariant 6). It ends with the play, with the action, or when another run has taken the lock.

It is a fresh interpreter and not a fork of the worker: a fork would carry over the worker's open ledger, and closing
that, or even collecting it as garbage, harms connections which the worker still uses.
"""

from __future__ import annotations

import json
import subprocess
import sys

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import BackendDownError
from ansible_collections.onprem.autoscale.plugins.plugin_utils import _heartbeat_process

START_TIMEOUT_S = 30.0


def start_heartbeat(url: str, ident: str, owner: str, ttl: float, watch_pid: int) -> int:
    """Prolong the lock of action *ident* every quarter of *ttl* seconds until the process *watch_pid* is gone.

    While that process is stopped (SIGSTOP) it does not, so that a play that hangs loses its lock.

    :param url: of the ledger; a relative SQLite file is looked for from the folder this is called in.
    :returns: the id of the process that does it. It is nobody's child and holds no file of the caller open.
    :raises BackendDownError: it could not be started: the lock would run out in the middle of a step.
    """
    order = {
        "url": url,
        "ident": ident,
        "owner": owner,
        "ttl": ttl,
        "pid": watch_pid,
        "started": _heartbeat_process.status(watch_pid)[1],
        "path": [entry for entry in sys.path if entry],
    }
    # The order goes through a pipe, as the URL may hold a password; the ident is for a reader of the process list.
    # Isolated: a private file beside the script never stands in for one of the standard library.
    command = [sys.executable, "-I", _heartbeat_process.__file__, ident]
    try:
        answer = subprocess.run(
            command,
            input=json.dumps(order).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=START_TIMEOUT_S,
            check=True,
        ).stdout
        return int(answer)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BackendDownError(
            f"the heartbeat of action {ident} did not start: {error}",
            remedy="Without it the lock runs out during a long step; look for a full process table or a broken Python",
        ) from error
