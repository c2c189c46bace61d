# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, their tokens (JWT, HS256) and what each persona may touch."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from .api import AUTHORIZATION, DATABASES, INFRASTRUCTURE, INTERNAL

INFRA_ADMIN, DSM_ADMIN, DSM_USER = "INFRA_ADMIN", "DSM_ADMIN", "DSM_USER"
_READ, _ALL = "R", "CRUD"
_DATABASES = {DATABASES: _ALL, INFRASTRUCTURE: _READ, INTERNAL: _READ, "": _ALL}
#: persona -> group -> letters of what it may do; ``""`` are Secrets (and namespaces, which nobody but reads)
RIGHTS: dict[str, dict[str, str]] = {
    INFRA_ADMIN: {INFRASTRUCTURE: _ALL},
    DSM_ADMIN: {**_DATABASES, AUTHORIZATION: _ALL},
    DSM_USER: _DATABASES,
}
LETTERS = {"POST": "C", "PUT": "U", "PATCH": "U", "DELETE": "D"}


@dataclasses.dataclass(frozen=True)
class User:
    """An account; *login* says which of the two logins knows it."""

    email: str
    role: str
    password: str = dataclasses.field(repr=False)
    login: str = "dsm"


def denied(role: str, method: str, group: str, resource: str) -> str:
    """Why *role* may not do that, in the vendor's words; empty when it may."""
    letter = LETTERS.get(method, _READ)
    allowed = RIGHTS[role].get(group, "")
    if resource == "namespaces":
        allowed = _READ
    elif not group and resource != "secrets":
        allowed = ""
    if letter in allowed:
        return ""
    where = f"{group}/v1alpha1" if group else "/v1"
    return f'denied - role "{role}" has no permission "{letter}" on {where}, Resource={resource}'


class Tokens:
    """Issues and checks tokens.

    :param lifetime: seconds; may be changed at any time, for tokens issued from then on.
    """

    def __init__(self, users: Iterable[User], lifetime: float = 3600, clock: Callable[[], float] = time.time) -> None:
        self.users = {user.email: user for user in users}
        self.lifetime = lifetime
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def login(self, email: str, password: str, login: str = "dsm") -> str | None:
        """A token; ``None`` when name or password are wrong."""
        user = self.users.get(email)
        good = hmac.compare_digest((user.password if user else "").encode(), password.encode())
        if user is None or not good or user.login != login:
            return None
        now = self._clock()
        return self._sign({"sub": email, "role": user.role, "iat": now, "exp": now + self.lifetime})

    def user(self, token: str) -> User | None:
        """Whose it is; ``None`` when it is forged or has ended."""
        head, _dot, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(head).encode()):
            return None
        claims = json.loads(_decode(head.partition(".")[2]))
        return self.users.get(claims["sub"]) if self._clock() < claims["exp"] else None

    def end_all(self) -> None:
        """Every token that was issued ends now, as when the appliance has restarted."""
        self._key = secrets.token_bytes(32)

    def _sign(self, claims: dict[str, Any]) -> str:
        parts = ({"alg": "HS256", "typ": "JWT"}, claims)
        head = ".".join(_encode(json.dumps(part).encode()) for part in parts)
        return f"{head}.{self._signature(head)}"

    def _signature(self, head: str) -> str:
        return _encode(hmac.new(self._key, head.encode(), hashlib.sha256).digest())


def _encode(blob: bytes) -> str:
    return base64.urlsafe_b64encode(blob).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
