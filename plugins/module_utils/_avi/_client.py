# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One session to one controller: a login a call and one more when it has ended, what a write has to bring along, and the
controller's answers as errors of this collection. Nothing that changes is sent twice without a look in between.
"""

from __future__ import annotations

import typing as t
from contextlib import suppress

from .._common._errors import (
    AuthenticationError,
    AutoscaleError,
    BackendDownError,
    NotFoundError,
    RefusedError,
    StaleError,
    UnsettledError,
)
from .._common._http import (
    PASSING_STATUSES,
    SAFE_METHODS,
    ConnectionBrokenError,
    HttpClient,
    ResponseError,
    shorten,
    url_host,
)
from .._common._module import ArgumentSpec, option

if t.TYPE_CHECKING:
    import requests

CSRF_COOKIE = "csrftoken"
CSRF_HEADER = "X-CSRFToken"
#: The controller's own status for a session that has ended, beside 401.
EXPIRED = 419
STALE = 412
TAKEN = 409
PAGE_SIZE = 100


CONNECTION_SPEC = ArgumentSpec(
    {
        "hostname": option("AVI_CONTROLLER", required=True),
        "port": option("AVI_PORT", type="int", default=443),
        "username": option("AVI_USERNAME", required=True),
        "password": option("AVI_PASSWORD", required=True, no_log=True),
        "tenant": option("AVI_TENANT", default="admin"),
        "api_version": option("AVI_API_VERSION", default="22.1.1"),
        "validate_certs": option("AVI_VALIDATE_CERTS", type="bool", default=True),
        "ca_path": option("AVI_CA_PATH", type="path"),
        "timeout": {"type": "int", "default": 30},
    }
)


class Controller:
    """One session; use it as a context manager so that it is ended.

    :param http: the connection, made by :func:`connect`.
    """

    def __init__(self, http: HttpClient, username: str, password: str) -> None:
        self._http = http
        self.name = http.name
        self._username = username
        self._password = password
        self._logged_in = False
        http.on_unauthorized = self._again

    def __enter__(self) -> Controller:
        self.login()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.logout()
        self._http.close()

    # -- session ----------------------------------------------------------------------------------------------------

    def login(self) -> None:
        """Get a session. :raises AuthenticationError: wrong user or password."""
        self._forget()
        body = {"username": self._username, "password": self._password}
        try:
            # Every status is ok here: a 401 is an answer about the password, and no reason to log in.
            response = self._http.request("POST", "/login", json=body, ok=range(100, 600))
        except ConnectionBrokenError as error:
            raise BackendDownError(error.message, remedy=error.remedy) from error
        if response.status_code in (401, 403):
            raise AuthenticationError(
                f"{self.name} refused user {self._username!r}: {_said(response)}",
                remedy="Check the user name and the password.",
            )
        if response.status_code != 200:
            raise BackendDownError(
                f"Logging in to {self.name} was answered with {response.status_code}: {_said(response)}",
                remedy="Check that the address is that of an Avi controller, and that it serves.",
            )
        self._keep_token(response)
        if not self._http.session.cookies:
            raise AuthenticationError(
                f"{self.name} accepted user {self._username!r} but gave no session",
                remedy="Check that the address is that of an Avi controller, and that no proxy takes cookies away.",
            )
        self._logged_in = True

    def logout(self) -> None:
        """End the session. Never raises: it ends by itself, and the work is done."""
        if self._logged_in:
            self._logged_in = False
            self._http.on_unauthorized = None
            with suppress(AutoscaleError):
                self._http.request("POST", "/logout", json={}, ok=range(100, 600), timeout=5)

    def _again(self) -> bool:
        """The session has ended in the middle of a call."""
        if self._logged_in:
            self.login()
        return self._logged_in

    def _forget(self) -> None:
        self._http.session.cookies.clear()
        self._http.session.headers.pop(CSRF_HEADER, None)
        self._logged_in = False

    def _keep_token(self, response: requests.Response) -> None:
        """The token may be renewed by any answer; it goes into the session's headers, where a repetition finds it."""
        token = response.cookies.get(CSRF_COOKIE)
        if token:
            self._http.session.headers[CSRF_HEADER] = token

    # -- calls ------------------------------------------------------------------------------------------------------

    def get(self, path: str, **params: t.Any) -> dict[str, t.Any]:
        """``GET`` of ``/api/path``."""
        return self.call("GET", path, params=params)

    def objects(self, kind: str, **params: t.Any) -> t.Iterator[dict[str, t.Any]]:
        """All objects of a kind, page by page."""
        page = 1
        while True:
            answer = self.get(kind, page_size=PAGE_SIZE, **({"page": page} if page > 1 else {}), **params)
            yield from answer.get("results") or []
            if not answer.get("next"):
                return
            page += 1

    def call(
        self, method: str, path: str, body: t.Any = None, params: t.Mapping[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        """One call with this session.

        :raises StaleError: 412, and 409 for a name that is taken.
        :raises UnsettledError: the change may have been made.
        :raises NotFoundError: 404.
        """
        target = f"/api/{path}"
        try:
            response = self._http.request(method, target, json=body, params=params, ok=None)
            if response.status_code == EXPIRED and self._again():
                response = self._http.request(method, target, json=body, params=params, ok=None)
        except ConnectionBrokenError as error:
            if error.maybe_applied:
                raise UnsettledError(error.message, remedy=error.remedy) from error
            raise
        self._keep_token(response)
        if 200 <= response.status_code < 300:
            found = self._http.decode(response) if response.content.strip() else {}
            return found if isinstance(found, dict) else {"results": found}
        raise self._error(method, target, response)

    def _error(self, method: str, path: str, response: requests.Response) -> AutoscaleError:
        """The controller's answer as one of our errors; its own text is always kept."""
        status, said = response.status_code, _said(response)
        message = f"{method} {path} on {self.name} was answered with {status}: {said}"
        if status in (STALE, TAKEN):
            return StaleError(message)
        if status == 404:
            return NotFoundError(message)
        if status in (401, EXPIRED):
            return AuthenticationError(message, remedy="Check that the user may use the API.")
        if status == 403:
            return RefusedError(
                message,
                remedy=f"User {self._username!r} needs a role that may write GSLB services.",
            )
        if status >= 500 and method not in SAFE_METHODS:
            return UnsettledError(message, remedy="Look at the events of the controller, and run again.")
        if status >= 500:
            return BackendDownError(message, remedy="Try again when the controller can serve.")
        return ResponseError(message, status=status, text=said)


def connect(params: t.Mapping[str, t.Any]) -> Controller:
    """A session (not logged in yet) from the options of :data:`CONNECTION_SPEC`."""
    base = f"https://{url_host(params['hostname'])}:{params['port']}"
    http = HttpClient(
        base,
        verify=params["validate_certs"],
        ca_path=params["ca_path"],
        timeout=params["timeout"],
        retry_statuses=PASSING_STATUSES,
        headers={
            "Content-Type": "application/json",
            "Referer": base,
            "X-Avi-Version": params["api_version"],
            "X-Avi-Tenant": params["tenant"],
        },
    )
    return Controller(http, params["username"], params["password"])


def _said(response: requests.Response) -> str:
    """What the controller says: ``error`` of its JSON, else the bare text."""
    try:
        data = response.json()
    except ValueError:
        return shorten(response.text) or response.reason
    if isinstance(data, dict):
        data = data.get("error") or data.get("detail") or data
    return shorten(str(data))
