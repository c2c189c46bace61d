# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The HTTP layer below every REST backend: one connection pool a module call, a timeout on every request, repetition only
where it cannot do harm, and errors that name the address, the cause and the remedy.
"""

from __future__ import annotations

import time
import traceback
import typing as t
from urllib.parse import urlsplit, urlunsplit

from ._errors import (
    AuthenticationError,
    BackendDownError,
    InvalidSpecError,
    NotFoundError,
    RefusedError,
    UnsettledError,
)

try:
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    HAS_REQUESTS = True
    REQUESTS_IMPORT_ERROR: str | None = None
except ImportError:
    HAS_REQUESTS = False
    REQUESTS_IMPORT_ERROR = traceback.format_exc()

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BUSY_STATUSES = (502, 503, 504)
#: What a read is asked again after, where a 500 may pass too: a load balancer says it before a server is there.
PASSING_STATUSES = (500, *BUSY_STATUSES)
MAX_TEXT = 400
BACKOFF_S = 0.2
#: TLS says so when the other side hung up; that may be in the middle of an answer.
CUT_TEXTS = ("EOF occurred in violation of protocol", "UNEXPECTED_EOF", "Connection reset")


class ResponseError(RefusedError):
    """The server answered with a status that the caller did not expect.

    ``status`` is the HTTP status, ``text`` the first part of the body.
    """

    def __init__(self, message: str, *, status: int, text: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.text = text


class ConnectionBrokenError(BackendDownError):
    """No usable answer. With ``maybe_applied`` a change may have reached the server: read again before repeating.

    ``passing``: refused or broken off, as by a server that restarts; a name or a certificate does not mend itself.
    ``cut``: broken off after it was made.
    """

    def __init__(
        self, message: str, *, remedy: str = "", maybe_applied: bool = False, passing: bool = False, cut: bool = False
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.maybe_applied = maybe_applied
        self.passing = passing
        self.cut = cut

    def told(self, what: str) -> BackendDownError:
        """The same with what was tried: *what* completes the sentence "Could not ..."."""
        message = f"Could not {what}: {self.message}"
        return UnsettledError(message) if self.maybe_applied else BackendDownError(message, remedy=self.remedy)


class HttpClient:
    """A session to one server.

    :param base_url: ``https://host:port`` with an optional path prefix.
    :param verify: check the server's certificate.
    :param ca_path: file or folder of CA certificates; only used when *verify* is true.
    :param timeout: seconds without a byte from the server before a request fails.
    :param connect_timeout: seconds for connecting, TLS included.
    :param auth: what requests takes, for instance ``(user, password)``; ``.netrc`` is never read.
    :param headers: sent with every request.
    :param retries: how often a connection that was never made, and a safe method whose connection was cut or that was
        answered with one of *retry_statuses*, is repeated (backoff 0.2, 0.4, 0.8 s ...).
    :param on_unauthorized: called once when a request is answered with 401; when true, the request is repeated.
    """

    def __init__(
        self,
        base_url: str,
        *,
        verify: bool = True,
        ca_path: str | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        auth: t.Any = None,
        headers: t.Mapping[str, str] | None = None,
        retries: int = 3,
        retry_statuses: t.Sequence[int] = BUSY_STATUSES,
        on_unauthorized: t.Callable[[], bool] | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidSpecError(f"{_without_userinfo(base_url)!r} is not an http or https address")
        self.base_url = base_url.rstrip("/")
        self.name = _without_userinfo(self.base_url)
        self.timeout = float(timeout)
        self.connect_timeout = float(connect_timeout)
        self.on_unauthorized = on_unauthorized
        self._retries = retries
        self._verify: bool | str = (ca_path or True) if verify else False
        self.session = requests.Session()
        # A callable that does nothing keeps requests from looking for a .netrc.
        self.session.auth = auth if auth is not None else (lambda request: request)
        self.session.headers.update(dict(headers or {}))
        retry = Retry(
            total=retries,
            connect=retries,
            read=0,
            status=retries,
            other=0,
            redirect=False,
            allowed_methods=SAFE_METHODS,
            status_forcelist=tuple(retry_statuses),
            backoff_factor=BACKOFF_S,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        adapter = HTTPAdapter(max_retries=retry, pool_connections=1, pool_maxsize=8)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        if not verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self.session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: t.Any = None,
        data: t.Any = None,
        params: t.Any = None,
        headers: t.Mapping[str, str] | None = None,
        ok: t.Collection[int] | None = (200,),
        timeout: float | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send one request and return the response.

        :param path: begins with a slash; appended to the base address as it is (percent escapes included).
        :param ok: statuses that count as success; ``None`` hands every answer to the caller.
        :param timeout: seconds, where this request needs more or less than the others.
        :param stream: leave the body for :meth:`chunks`; the caller closes the response.
        :raises ConnectionBrokenError: refused, unknown name, TLS, timeout, cut.
        :raises AuthenticationError: 401, after :attr:`on_unauthorized` had its chance.
        :raises NotFoundError: 404.
        :raises BackendDownError: 502, 503 and 504.
        :raises ResponseError: any other status that is not in *ok*.
        """
        method = method.upper()
        call = {"json": json, "data": data, "params": params, "headers": headers, "stream": stream}
        response = self._send(method, path, call, timeout)
        if response.status_code == 401 and self.on_unauthorized is not None and (ok is None or 401 not in ok):
            hook, self.on_unauthorized = self.on_unauthorized, None  # a renewal that is refused must not renew again
            try:
                again = hook()
            finally:
                self.on_unauthorized = hook
            if again:
                response = self._send(method, path, call, timeout)
        if ok is None or response.status_code in ok:
            return response
        raise self.error_for(method, path, response)

    def get_json(self, path: str, **kwargs: t.Any) -> t.Any:
        """``GET`` *path* and decode the answer."""
        return self.decode(self.request("GET", path, **kwargs))

    def decode(self, response: requests.Response) -> t.Any:
        """The JSON of a response, or an error that says what came instead."""
        try:
            return response.json()
        except ValueError:
            raise BackendDownError(
                f"{self.name} answered {response.request.method} {urlsplit(response.url).path} with "
                f"{response.headers.get('Content-Type', 'no content type')} instead of JSON: {shorten(response.text)}",
                remedy="Check that the address and port are those of the API and not of a proxy or a web page.",
            ) from None

    def chunks(self, response: requests.Response, size: int) -> t.Iterator[bytes]:
        """The body of a response that was asked for with *stream*.

        :raises ConnectionBrokenError: the connection broke, or no byte came for too long.
        """
        try:
            yield from response.iter_content(size)
        except requests.exceptions.RequestException as error:
            path = urlsplit(response.url).path
            raise self._broken(response.request.method or "GET", path, error, self.timeout) from error

    def error_for(self, method: str, path: str, response: requests.Response) -> Exception:
        """What an unexpected status becomes."""
        status, text = response.status_code, shorten(response.text)
        message = f"{method} {self.name}{path.partition('?')[0]} was answered with {status}: {text or response.reason}"
        if status == 401:
            return AuthenticationError(message, remedy="Check the user name, the password or the token.")
        if status == 404:
            return NotFoundError(message)
        if status in BUSY_STATUSES:
            return BackendDownError(
                message, remedy="The server is up but cannot serve now; try again when it is ready."
            )
        remedy = ""
        if 300 <= status < 400:
            remedy = (
                f"Redirects are not followed; set the address to {response.headers.get('Location', 'the new one')}."
            )
        return ResponseError(message, status=status, text=text, remedy=remedy)

    def _send(self, method: str, path: str, call: t.Mapping[str, t.Any], timeout: float | None) -> requests.Response:
        """Send it; a safe method again when its connection was cut, which urllib3 cannot see within a body."""
        for pause in (BACKOFF_S * 2**number for number in range(self._retries if method in SAFE_METHODS else 0)):
            try:
                return self._send_once(method, path, call, timeout)
            except ConnectionBrokenError as error:
                if not error.cut:
                    raise
            time.sleep(pause)
        return self._send_once(method, path, call, timeout)

    def _send_once(
        self, method: str, path: str, call: t.Mapping[str, t.Any], timeout: float | None
    ) -> requests.Response:
        read = self.timeout if timeout is None else timeout
        try:
            return self.session.request(
                method,
                self.base_url + path,
                timeout=(self.connect_timeout, read),
                verify=self._verify,  # per request: else REQUESTS_CA_BUNDLE outranks verify=False of the session
                allow_redirects=False,
                **call,
            )
        except requests.exceptions.RequestException as error:
            raise self._broken(method, path, error, read) from error
        except OSError as error:  # a ca_path that does not exist
            raise InvalidSpecError(f"{self.name}: {error}", remedy="Check ca_path.") from error

    def _broken(self, method: str, path: str, error: Exception, read: float) -> ConnectionBrokenError:
        where = f"{method} {self.name}{path.partition('?')[0]}"
        changed = method not in SAFE_METHODS
        text = str(error)
        if isinstance(error, requests.exceptions.SSLError) and not any(words in text for words in CUT_TEXTS):
            return ConnectionBrokenError(
                f"{where}: the TLS connection failed: {innermost(error)}",
                remedy="Give the CA of the server in ca_path, or correct the host name; "
                "validate_certs=false is for laboratories.",
            )
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return ConnectionBrokenError(
                f"{where}: no connection within {self.connect_timeout:g} s",
                remedy="Check the address, the port and the firewalls between this machine and the server.",
            )
        if "NameResolutionError" in text or "Name or service not known" in text or "getaddrinfo" in text:
            return ConnectionBrokenError(
                f"{where}: the host name cannot be resolved",
                remedy="Check the spelling and the DNS of this machine.",
            )
        if "Connection refused" in text:
            return ConnectionBrokenError(
                f"{where}: the connection was refused",
                remedy="Check the address and the port, and that the server runs.",
                passing=True,
            )
        if isinstance(error, requests.exceptions.Timeout) or "Read timed out" in text:
            return ConnectionBrokenError(
                f"{where}: no answer within {read:g} s",
                remedy="Check the load of the server." + (" The change may have been made." if changed else ""),
                maybe_applied=changed,
            )
        return ConnectionBrokenError(
            f"{where}: the connection broke: {innermost(error)}",
            remedy="Try again." + (" The change may have been made." if changed else ""),
            maybe_applied=changed,
            passing=True,
            cut=True,
        )


def url_host(address: str) -> str:
    """The address as it stands in a URL: IPv6 in brackets."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def shorten(text: str) -> str:
    """One line of at most :data:`MAX_TEXT` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."


def innermost(error: BaseException) -> str:
    """The cause below the wrappers of requests and urllib3."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        reason = getattr(error, "reason", None)
        nested = (
            reason
            if isinstance(reason, BaseException)
            else next((arg for arg in reversed(error.args) if isinstance(arg, BaseException)), None)
        )
        if nested is None:
            break
        error = nested
    return shorten(str(error)) or type(error).__name__


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
