# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

psycopg waits in Python, so that a server that is frozen, which keeps none of its own limits, can be given up.
"""

from __future__ import annotations

import time
import typing as t


def bounded(steps: t.Any, seconds: float, give_up: t.Callable[[], t.NoReturn]) -> t.Generator[t.Any, t.Any, t.Any]:
    """The driver's own *steps*; *give_up* is called after so many *seconds* without their end.

    The driver asks for the next one every 0.1 s while it waits for the server.
    """
    deadline = time.monotonic() + seconds
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            wanted = steps.send(ready)
            if time.monotonic() > deadline:
                give_up()
    except StopIteration as done:
        return done.value
