# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Several ledgers asked at once, so that dead ones cost as much time as one, and a frozen one no more than its limit.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
import typing as t

from .._common._errors import AutoscaleError
from ._epochs import Epochs
from ._errors import LedgerError

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Answer(t.Generic[T]):
    """What one store answered, or why not."""

    value: T | None = None
    error: AutoscaleError | None = None


def ask_stores(
    stores: t.Mapping[str, str],
    call: t.Callable[[Epochs], T],
    *,
    timeout: float,
    look_only: bool,
) -> dict[str, Answer[T]]:
    """Open the ledger of each of *stores* (name and URL) and *call* it there, all at the same time.

    :param timeout: seconds for all of it. A store that has not answered by then is left to itself: whether something
        was stored there is not known.
    """
    answers: queue.Queue[tuple[str, Answer[T]]] = queue.Queue()
    deadline = time.monotonic() + timeout

    def ask(name: str, url: str) -> None:
        answers.put((name, _ask(url, call, look_only)))

    for name, url in stores.items():
        # A daemon: a driver that waits for a frozen server would else hold up the end of the task.
        threading.Thread(target=ask, args=(name, url), name=f"store {name}", daemon=True).start()
    found: dict[str, Answer[T]] = {}
    while len(found) < len(stores):
        try:
            name, answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[name] = answer
    late = LedgerError(
        f"it did not answer within {timeout:g} s"
        + ("" if look_only else "; it is not known whether the record was stored"),
        remedy="Check that its database runs and can be reached",
    )
    return {name: found.get(name, Answer(error=late)) for name in stores}


def _ask(url: str, call: t.Callable[[Epochs], T], look_only: bool) -> Answer[T]:
    try:
        with Epochs.open(url, look_only=look_only) as ledger:
            return Answer(call(ledger))
    except AutoscaleError as error:
        return Answer(error=error)
    except Exception as error:  # in a thread nobody else would tell it
        return Answer(error=LedgerError(f"unexpected {type(error).__name__}: {error}"))
