# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what: users, roles, tokens."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hmac
import secrets
import string
import time
from collections.abc import Callable
from typing import Any

from .errors import ApiError, denied, unauthorized

TOKEN_LIMIT = 100
TOKEN_TIMEOUT_S = 1200
TOKEN_TIMEOUT_MAX_S = 36000
LINK = "https://localhost/mgmt/shared/authz/"
# Highest first; each role may do what those behind it may.
ROLES = ("admin", "resource-admin", "manager", "operator", "guest")


@dataclasses.dataclass
class User:
    """An account. ``partition`` is where its role holds; ``all-partitions`` is everywhere."""

    name: str
    password: str
    role: str = "admin"
    partition: str = "all-partitions"

    def may(self, role: str, partition: str | None = None) -> bool:
        """Whether the account has at least *role*, on *partition* when one is named."""
        inside = self.partition == "all-partitions" or partition in {None, self.partition}
        return inside and ROLES.index(self.role) <= ROLES.index(role)


@dataclasses.dataclass
class Token:
    """A session. Times are seconds of the device's clock."""

    text: str
    user: User
    made: float
    timeout: int = TOKEN_TIMEOUT_S

    @property
    def expires(self) -> float:
        return self.made + self.timeout

    def body(self) -> dict[str, Any]:
        return {
            "token": self.text,
            "name": self.text,
            "userName": self.user.name,
            "authProviderName": "tmos",
            "user": {"link": f"{LINK}users/{self.user.name}"},
            "timeout": self.timeout,
            "startTime": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(self.made)),
            "address": "127.0.0.1",
            "partition": "[All]",
            "generation": 1,
            "lastUpdateMicros": int(self.made * 1e6),
            "expirationMicros": int(self.expires * 1e6),
            "kind": "shared:authz:tokens:authtokenitemstate",
            "selfLink": f"{LINK}tokens/{self.text}",
        }


class Auth:
    """Accounts and sessions of one device."""

    def __init__(self, users: list[User], *, clock: Callable[[], float] = time.time) -> None:
        self.users = {user.name: user for user in users}
        self.tokens: dict[str, Token] = {}
        self.logins = 0
        self._clock = clock

    def _purge(self) -> None:
        now = self._clock()
        for text in [text for text, token in self.tokens.items() if token.expires <= now]:
            del self.tokens[text]

    def _check(self, name: str, password: str) -> User | None:
        user = self.users.get(name)
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            return None
        return user

    def login(self, body: Any) -> dict[str, Any]:
        """Answer to POST /mgmt/shared/authn/login.

        :raises ApiError: 401 for wrong credentials, 400 for the 101st session of a user.
        """
        given = body if isinstance(body, dict) else {}
        user = self._check(str(given.get("username", "")), str(given.get("password", "")))
        if user is None:
            raise unauthorized("Authentication failed.")
        self._purge()
        if sum(token.user is user for token in self.tokens.values()) >= TOKEN_LIMIT:
            raise ApiError(400, f"user {user.name} has reached maximum active login tokens", framework=True)
        text = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _unused in range(26))
        self.tokens[text] = Token(text, user, self._clock())
        self.logins += 1
        return {
            "username": user.name,
            "loginReference": {"link": "https://localhost/mgmt/cm/system/authn/providers/tmos/login"},
            "loginProviderName": given.get("loginProviderName", "tmos"),
            "token": self.tokens[text].body(),
            "generation": 0,
            "lastUpdateMicros": 0,
        }

    def authenticate(self, token: str | None, authorization: str | None, uri: str) -> User:
        """The user of a request, by its token or else by basic authentication (administrators only).

        :raises ApiError: 401.
        """
        self._purge()
        if token is not None:
            if token not in self.tokens:
                raise unauthorized("X-F5-Auth-Token does not exist.")
            return self.tokens[token].user
        if authorization and authorization.lower().startswith("basic "):
            try:
                name, _colon, password = base64.b64decode(authorization[6:]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise unauthorized("Authorization failed: malformed header.") from None
            user = self._check(name, password)
            if user is not None and user.role == "admin":
                return user
            raise unauthorized(f"Authorization failed: user={name} resource={uri} verb=any")
        raise unauthorized(f"Authorization failed: no user authentication header or token detected. Uri:{uri}")

    def token(self, text: str) -> Token:
        """A session by its token.

        :raises ApiError: 404.
        """
        self._purge()
        if text not in self.tokens:
            raise ApiError(404, f"Token {text} not found", framework=True)
        return self.tokens[text]

    def patch(self, text: str, body: Any) -> dict[str, Any]:
        """Change how long a session lives, from now on.

        :raises ApiError: 400 for more than ten hours.
        """
        token = self.token(text)
        timeout = body.get("timeout") if isinstance(body, dict) else None
        try:
            seconds = int(timeout)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ApiError(400, "timeout must be a number of seconds", framework=True) from None
        if not 0 < seconds <= TOKEN_TIMEOUT_MAX_S:
            raise ApiError(400, f"timeout must be between 1 and {TOKEN_TIMEOUT_MAX_S} seconds", framework=True)
        token.made, token.timeout = self._clock(), seconds
        return token.body()

    def delete(self, text: str) -> dict[str, Any]:
        return self.tokens.pop(self.token(text).text).body()

    def expire(self) -> int:
        """End every session, as time would; how many there were."""
        count = len(self.tokens)
        self.tokens.clear()
        return count

    @staticmethod
    def authorize(user: User, method: str, parts: list[str], body: Any, partition: str | None) -> None:
        """Whether *user* may send this change: operators may enable and disable, managers change objects.

        :raises ApiError: 403.
        """
        if method == "GET" or parts[:1] == ["transaction"]:
            return
        switches = {"enabled", "disabled"} if parts[:1] == ["gtm"] else {"session", "state"}
        switching = method == "PATCH" and isinstance(body, dict) and set(body) <= switches
        needed = "operator" if switching and ("members" in parts or "node" in parts) else "manager"
        if parts[:1] not in (["ltm"], ["gtm"]):
            needed = "operator" if parts == ["sys", "config"] else "resource-admin"
        if not user.may(needed, partition):
            raise denied(user.name, f"{method} {'/'.join(parts)}")
