# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts and sessions: cookies, CSRF token, what a write has to bring along."""

from __future__ import annotations

import dataclasses
import hmac
import secrets
import time
from collections.abc import Mapping

from .errors import ApiError

LIFETIME_S = 24 * 3600


@dataclasses.dataclass(frozen=True)
class User:
    """An account; one that is not ``write`` may only read."""

    name: str
    password: str
    write: bool = True


@dataclasses.dataclass(frozen=True)
class Session:
    """Somebody who has logged in."""

    user: User
    token: str  # X-CSRFToken
    made: float


class Auth:
    """Accounts and sessions of one controller."""

    def __init__(self, users: list[User]) -> None:
        self.users = {user.name: user for user in users}
        self.sessions: dict[str, Session] = {}
        self.logins = 0

    def login(self, name: str, password: str) -> tuple[str, Session]:
        """The session's id and what belongs to it. :raises ApiError: 401."""
        user = self.users.get(name)
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            raise ApiError(401, "Invalid credentials")
        ident = secrets.token_hex(16)
        self.sessions[ident] = Session(user, secrets.token_hex(16), time.time())
        self.logins += 1
        return ident, self.sessions[ident]

    def check(self, method: str, cookies: Mapping[str, str], headers: Mapping[str, str], host: str) -> Session:
        """Whose request it is. :raises ApiError: 401 without a session, 403 for a write that lacks its proofs."""
        session = self.sessions.get(cookies.get("sessionid") or cookies.get("avi-sessionid") or "")
        if session is None or session.made + LIFETIME_S < time.time():
            raise ApiError(401, "Authentication credentials were not provided.")
        if method in {"GET", "HEAD"}:
            return session
        if not headers.get("Referer", "").startswith(f"https://{host}"):
            raise ApiError(403, "CSRF Failed: Referer checking failed - no Referer.")
        if headers.get("X-CSRFToken") != session.token or cookies.get("csrftoken") != session.token:
            raise ApiError(403, "CSRF Failed: CSRF token missing or incorrect.")
        if not session.user.write:
            raise ApiError(403, f"User {session.user.name} does not have write permission on GslbService")
        return session

    def logout(self, cookies: Mapping[str, str]) -> None:
        self.sessions.pop(cookies.get("sessionid") or cookies.get("avi-sessionid") or "", None)

    def expire(self) -> int:
        """End every session, as time would; how many there were."""
        count = len(self.sessions)
        self.sessions.clear()
        return count
