# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A session to one BIG-IP over iControl REST: one token a module call, patience while the device restarts, transactions,
and the device's error codes as errors of this collection.
"""

from __future__ import annotations

import re
import time
import typing as t
from contextlib import contextmanager, suppress

from .._common._errors import (
    AuthenticationError,
    AutoscaleError,
    BackendDownError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnsettledError,
)
from .._common._http import (
    BUSY_STATUSES,
    SAFE_METHODS,
    ConnectionBrokenError,
    HttpClient,
    ResponseError,
    shorten,
    url_host,
)
from .._common._waiter import Waiter

if t.TYPE_CHECKING:
    import requests

LOGIN = "/mgmt/shared/authn/login"
TOKENS = "/mgmt/shared/authz/tokens"
TRANSACTION = "/mgmt/tm/transaction"
TOKEN_HEADER = "X-F5-Auth-Token"  # noqa: S105 - the name of a header
TRANSACTION_HEADER = "X-F5-REST-Coordination-Id"
#: A device that says one of these is alive and will serve again soon.
BUSY_TEXTS = (
    "Configuration Utility restarting",
    "There is an active asynchronous task executing",
    "Public URI path not registered",
)
CODE = re.compile(r"\b(01[0-9a-f]{6}):\d+:")
EXISTS, MISSING, IN_USE = "01020066", "01020036", "01070110"
COMMIT_PATIENCE_S = 5.0
#: Seconds during which a connection that is refused before the first answer, and a 500 that may be asked again, are
#: taken for an outage that passes and not for a wrong address or a defect.
OUTAGE_S = 10.0


class MissingObjectError(NotFoundError):
    """The BIG-IP does not know an object; ``code`` is its own number for that."""

    code = MISSING


class BigIP:
    """One session; use it as a context manager so that its token is given back.

    :param http: the connection, made by :func:`connect`.
    :param busy_timeout: seconds to wait while the device restarts, runs another task or breaks off connections.
    """

    def __init__(
        self,
        http: HttpClient,
        username: str,
        password: str,
        *,
        provider: str = "tmos",
        busy_timeout: float = 120.0,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = http
        self.name = http.name
        self._username = username
        self._password = password
        self._provider = provider
        self._busy_timeout = busy_timeout
        self._token: str | None = None
        self._answered = False
        self.clock = clock
        self.sleep = sleep

    def __enter__(self) -> BigIP:
        self.login()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.logout()
        self._http.close()

    # -- session ----------------------------------------------------------------------------------------------------

    def login(self) -> None:
        """Get a token. :raises AuthenticationError: wrong user or password. :raises RefusedError: too many tokens."""
        self._token = None
        body = {"username": self._username, "password": self._password, "loginProviderName": self._provider}
        answer = self.call("POST", LOGIN, json=body, repeat=True)
        token = (answer.get("token") or {}).get("token")
        if not token:
            raise AuthenticationError(
                f"{self.name} accepted user {self._username!r} but gave no token",
                remedy="Check that the address is that of a BIG-IP and that provider is right.",
            )
        self._token = token

    def logout(self) -> None:
        """Give the token back, so that runs do not add up to the 100 a user may have. Never raises."""
        if self._token is None:
            return
        token, self._token = self._token, None
        with suppress(AutoscaleError):  # it expires by itself; the work is done
            self._http.request("DELETE", f"{TOKENS}/{token}", headers={TOKEN_HEADER: token}, ok=None, timeout=5)

    def waiter(self, timeout: float, interval: float = 1.0) -> Waiter:
        """A waiter on this session's clock."""
        return Waiter(timeout, interval, clock=self.clock, sleep=self.sleep)

    # -- calls ------------------------------------------------------------------------------------------------------

    def get(self, path: str, params: t.Mapping[str, str] | None = None) -> dict[str, t.Any]:
        """``GET``, repeated while the device is busy."""
        return self.call("GET", path, params=params)

    def call(
        self,
        method: str,
        path: str,
        *,
        json: t.Any = None,
        params: t.Mapping[str, str] | None = None,
        headers: t.Mapping[str, str] | None = None,
        repeat: bool = False,
        timeout: float | None = None,
    ) -> dict[str, t.Any]:
        """One call with the session's token.

        :param repeat: the change may be sent twice without harm, so wait and repeat while the device is busy.
        :raises UnsettledError: the device was busy or broke off, and the change may have been made.
        """
        repeatable = repeat or method in SAFE_METHODS
        trouble: AutoscaleError
        patience: _Patience | None = None
        renewed = False
        while True:
            sent = dict(headers or {})
            if self._token:
                sent[TOKEN_HEADER] = self._token
            longest = self._busy_timeout
            try:
                response = self._http.request(
                    method, path, json=json, params=params, headers=sent, ok=None, timeout=timeout
                )
            except ConnectionBrokenError as error:
                if not self._answered:  # a wrong address is no restart
                    longest = min(OUTAGE_S, longest) if error.passing else 0
                if not repeatable and error.maybe_applied:
                    raise UnsettledError(error.message, remedy=error.remedy) from error
                trouble = error
            else:
                self._answered = True
                if response.status_code // 100 == 2 and not _says_busy(response):
                    return self._http.decode(response) if response.content.strip() else {}
                if response.status_code == 401 and self._token and not renewed and not _denied(response.text):
                    renewed = True
                    self.login()
                    continue
                busy = self._busy(method, path, response)
                if busy is None:
                    trouble = self._error(method, path, response)
                    if response.status_code < 500 or not repeatable:
                        raise trouble
                    longest = min(OUTAGE_S, longest)
                elif not repeatable:
                    raise UnsettledError(busy.message, remedy=busy.remedy)
                else:
                    trouble = busy
            patience = patience or _Patience(self)
            if not patience.pause(longest):
                if not self._answered or longest < self._busy_timeout:
                    raise trouble
                raise BackendDownError(
                    f"{trouble.message.rstrip('.')} (for {patience.elapsed:.0f} s)",
                    remedy="Wait until the device serves again, or raise busy_timeout.",
                ) from trouble

    def _busy(self, method: str, path: str, response: requests.Response) -> BackendDownError | None:
        if response.status_code not in BUSY_STATUSES and not _says_busy(response):
            return None
        said = f"{response.status_code}: {shorten(_message(response))}"
        return BackendDownError(
            f"{self.name} is busy: {method} {path} was answered with {said}",
            remedy="Wait until the device serves again.",
        )

    def _error(self, method: str, path: str, response: requests.Response) -> AutoscaleError:
        """The device's answer as one of our errors; its own text is always kept."""
        status, said = response.status_code, shorten(_message(response))
        if path == LOGIN:
            return self._login_error(response, said)
        code = CODE.search(said)
        number = code.group(1) if code else ""
        message = f"{method} {path} on {self.name} was answered with {status}: {said}"
        if number == EXISTS or status == 409:
            return ConflictError(message)
        if number == IN_USE or "is referenced by" in said:
            return ConflictError(message, remedy="Remove it from the objects that use it first.")
        if number == MISSING or status == 404:
            return MissingObjectError(message)
        if status == 403 or (status == 401 and _denied(said)):
            return RefusedError(
                message,
                remedy=f"User {self._username!r} needs the role Manager or Resource Administrator on the partition to "
                "add and remove members; Operator can only enable and disable them.",
            )
        if status == 401:
            return AuthenticationError(message, remedy="Log in again; check that the user may use iControl REST.")
        if status >= 500:
            return UnsettledError(message, remedy="Look at /var/log/restjavad.0.log and /var/log/ltm on the device.")
        return ResponseError(message, status=status, text=said)

    def _login_error(self, response: requests.Response, said: str) -> AutoscaleError:
        if "maximum active login tokens" in said:
            return RefusedError(
                f"{self.name} gives user {self._username!r} no further token: {said}",
                remedy="Wait until old tokens expire (20 minutes), or delete them at /mgmt/shared/authz/tokens; "
                "this module gives its own token back at the end.",
            )
        if response.status_code in (401, 403):
            return AuthenticationError(
                f"{self.name} refused user {self._username!r} (login provider {self._provider!r}): {said}",
                remedy="Check the user name, the password and the provider.",
            )
        if response.status_code == 404:
            return BackendDownError(
                f"{self.name} has no {LOGIN}", remedy="Check that the address is the management address of a BIG-IP."
            )
        if response.status_code >= 500:
            return BackendDownError(f"Logging in to {self.name} failed with {response.status_code}: {said}")
        return ResponseError(
            f"Logging in to {self.name} failed with {response.status_code}: {said}",
            status=response.status_code,
            text=said,
        )

    # -- transactions -----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> t.Iterator[Transaction]:
        """All calls of the block or none of them: committed at its end, dropped on an error.

        :raises UnsettledError: the commit was sent and its fate is not known.
        """
        ident = str(self.call("POST", TRANSACTION, json={}, repeat=True)["transId"])
        try:
            yield Transaction(self, ident)
        except BaseException:
            with suppress(AutoscaleError):  # it expires by itself after two minutes
                self.call("DELETE", f"{TRANSACTION}/{ident}", timeout=5)
            raise
        self._commit(ident)

    def _commit(self, ident: str) -> None:
        path = f"{TRANSACTION}/{ident}"
        answer = self.call("PATCH", path, json={"state": "VALIDATING"})
        # Errors come with the answer. Some versions still say STARTED in it; how long that lasts does not matter, since
        # the read that follows every write tells whether it took effect.
        waiter = self.waiter(COMMIT_PATIENCE_S, 0.5)
        while answer.get("state") != "COMPLETED":
            if answer.get("state") == "FAILED":
                raise self._failed(path, str(answer.get("failureReason", "no reason given")))
            if not waiter.pause():
                return
            try:
                answer = self.get(path)
            except NotFoundError:
                return

    def _failed(self, path: str, reason: str) -> AutoscaleError:
        message = f"{path} on {self.name} failed: {shorten(reason)}"
        if EXISTS in reason or IN_USE in reason:
            return ConflictError(message)
        if MISSING in reason:
            return MissingObjectError(message)
        return RefusedError(message)


class _Patience:
    """Waits between two tries of one call, from a quarter of a second up to two: most outages are short."""

    def __init__(self, client: BigIP) -> None:
        self._client = client
        self._started = client.clock()
        self._next = 0.25

    @property
    def elapsed(self) -> float:
        return self._client.clock() - self._started

    def pause(self, longest: float) -> bool:
        """Sleep; ``False`` when *longest* seconds have passed since the first failure."""
        left = longest - self.elapsed
        if left <= 0:
            return False
        self._client.sleep(min(left, self._next))
        self._next = min(2.0, self._next * 1.5)
        return True


class Transaction:
    """Sends calls that take effect together; their answers echo the request and mean nothing yet."""

    def __init__(self, client: BigIP, ident: str) -> None:
        self._client = client
        self._headers = {TRANSACTION_HEADER: ident}

    def send(self, method: str, path: str, json: t.Any = None) -> None:
        """Queue one change."""
        self._client.call(method, path, json=json, headers=self._headers)


def connect(params: t.Mapping[str, t.Any]) -> BigIP:
    """A session (not logged in yet) from the connection options of the fragment ``onprem.autoscale._f5``."""
    http = HttpClient(
        f"https://{url_host(params['hostname'])}:{params['port']}",
        verify=params["validate_certs"],
        ca_path=params["ca_path"],
        timeout=params["timeout"],
        retry_statuses=(),  # a busy device is waited for here, with its own deadline
        headers={"Content-Type": "application/json"},
    )
    return BigIP(
        http,
        params["username"],
        params["password"],
        provider=params["provider"],
        busy_timeout=params["busy_timeout"],
    )


def _message(response: requests.Response) -> str:
    """What the device says: the message of its JSON, else the bare text of the page."""
    try:
        data = response.json()
    except ValueError:
        return re.sub(r"<[^>]+>", " ", response.text)
    return str(data.get("message") or data) if isinstance(data, dict) else str(data)


def _says_busy(response: requests.Response) -> bool:
    return response.status_code in (200, 400, 404) and any(words in response.text[:4096] for words in BUSY_TEXTS)


def _denied(text: str) -> bool:
    """A 401 that is about the role and not about the token."""
    return "Authorization failed: user" in text
