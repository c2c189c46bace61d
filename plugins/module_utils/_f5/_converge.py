# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Changes that are sent until the device shows them.
"""

from __future__ import annotations

import typing as t

from .._common._errors import AutoscaleError, ConflictError, UnsettledError
from ._client import BigIP, MissingObjectError

#: Writes until all is as wanted; more than one only where somebody else writes too or an answer was lost.
ATTEMPTS = 4
Thing = t.TypeVar("Thing")


def converge(
    client: BigIP,
    missing: t.Callable[[], t.Sequence[Thing]],
    call: t.Callable[[Thing], tuple[str, str, t.Any]],
    look: t.Callable[[bool], None],
) -> t.Sequence[Thing]:
    """Write in one transaction, read again, compare; repeat where others interfere or an answer is lost.

    An object that exists already, one that is gone already, and a commit whose answer never came are all the same
    case: look again, and send only what is still missing.

    :param missing: what is still to do.
    :param call: method, path and body of one of these.
    :param look: reads again; told whether the write failed.
    :returns: what the device accepted and still does not show.
    """
    failure: AutoscaleError | None = None
    for attempt in range(ATTEMPTS):
        left = missing()
        if not left or attempt == ATTEMPTS - 1:
            break
        if attempt:
            client.sleep(0.25 * 2**attempt)
        failure = None
        try:
            with client.transaction() as transaction:
                for thing in left:
                    transaction.send(*call(thing))
        except (ConflictError, MissingObjectError, UnsettledError) as error:
            failure = error
        look(failure is not None)
    if left and failure is not None:
        raise failure
    return left
