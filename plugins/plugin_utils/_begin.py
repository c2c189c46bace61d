# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

How an action takes its group's lock: at once, or after waiting for another one to end or to be given up for dead.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger

LOOK_EVERY_S = 0.5
RECONCILE = "reconcile"


def begin(
    ledger: Ledger,
    args: t.Mapping[str, t.Any],
    *,
    sleep: t.Callable[[float], None] = time.sleep,
) -> dict[str, t.Any]:
    """Open the action that *args* ask for, or carry on one that was cut off; its step ``observe`` begins.

    A reconcile that finds a scale-out or scale-in cut off takes the lock as that action, so that it can be run to its
    end; the answer's ``direction`` says so.

    :param args: options of ``scaling_action``. ``lock_wait`` seconds are waited for a lock that is held. None: not at
        all, and for a reconcile as long as the holder shows no life; one that does is left alone at once.
    :returns: ``name, direction, started_at, resumed``.
    :raises ConflictError: another action holds the lock and lives.
    """
    group, wait = args["group"], args["lock_wait"]
    deadline = ledger.clock() + (wait or 0)
    first_beat: float | None = None
    while True:
        try:
            return _take(ledger, args)
        except ConflictError as error:
            lock = error.result.get("lock") or {}
            if error.result.get("code") == "cut_off":
                sleep(LOOK_EVERY_S)  # its lock ran out between the look and the taking: the next look finds it
                continue
            if error.result.get("code") != "locked":
                raise
            if first_beat is None:
                first_beat = lock.get("heartbeat_at")
                if wait is None and args["direction"] == RECONCILE:
                    deadline = (lock.get("expires_at") or 0.0) + LOOK_EVERY_S
            beats = wait is None and lock.get("heartbeat_at") != first_beat
            if beats or ledger.clock() >= deadline:
                raise ConflictError(
                    f"group {group} is busy: {error}",
                    remedy="Run again when that action has ended",
                    result=error.result,
                ) from error
        sleep(LOOK_EVERY_S)


def _take(ledger: Ledger, args: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    name, direction, attempt = args["name"], args["direction"], args["attempt"]
    if direction == RECONCILE:
        dead = ledger.cut_off(args["group"])
        if dead and dead["direction"] != RECONCILE:
            name, direction, attempt = dead["ident"], dead["direction"], None
    known = ledger.action(name) if name else ledger.cut_off(args["group"])
    ident = ledger.start_action(
        args["group"],
        direction,
        ident=name,
        owner=args["owner"],
        ttl=args["lock_ttl"],
        source=args["source"],
        reason=args["reason"],
        attempt=attempt,
        takeover=args["takeover"],
        spare=direction == RECONCILE,
    )
    # What runs until the plan is there: looking at the backends and deciding.
    ledger.begin_step(ident, "observe", owner=args["owner"])
    return {
        "name": ident,
        "direction": direction,
        "started_at": ledger.action(ident)["started_at"],
        "resumed": bool(known and known["ident"] == ident),
    }
