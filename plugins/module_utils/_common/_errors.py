# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One family of errors. Each says what was tried on which object, what the other side answered and what to do about it;
it is caught once, in :func:`_module.run`, and becomes ``fail_json``.
"""

from __future__ import annotations

import typing as t

#: What to do where a change may have been made.
AGAIN = "The change may have been made: run again, what is there is read first."


class AutoscaleError(Exception):
    """Something a person has to read.

    :param message: what was tried, on which object, and why it failed (one sentence, no trailing full stop needed).
    :param remedy: what the reader can do about it; printed behind the message.
    :param result: whatever is already known (half-done objects, partial results); merged into the module's result.
    """

    def __init__(self, message: str, *, remedy: str = "", result: t.Mapping[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.result: dict[str, t.Any] = dict(result or {})

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.remedy}".strip() if self.remedy else self.message


class NotFoundError(AutoscaleError):
    """The named object does not exist."""


class ConflictError(AutoscaleError):
    """The object exists, is locked or is used by another one."""


class StaleError(ConflictError):
    """Somebody else changed or made the object since it was read."""


class AuthenticationError(AutoscaleError):
    """The backend refused the credentials, or the session ended."""


class BackendDownError(AutoscaleError):
    """The backend cannot be reached, or answers that it cannot serve now."""


class UnsettledError(BackendDownError):
    """A change was sent and no usable answer came: read what is there, and compare, before anything else."""

    def __init__(self, message: str, *, remedy: str = AGAIN, result: t.Mapping[str, t.Any] | None = None) -> None:
        super().__init__(message, remedy=remedy, result=result)


class RefusedError(AutoscaleError):
    """The backend understood the request and refused it."""


class WaitTimeoutError(AutoscaleError):
    """A deadline passed; ``result`` holds the half-done object."""


class InvalidSpecError(AutoscaleError):
    """A declaration is wrong: names the field, the value and what is allowed."""
