# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One connection to DSM's gateway: the kubernetes client's, for the login and for the objects. Nothing that changes is
sent twice without a look in between, and no password or token stands in an error.
"""

from __future__ import annotations

import json
import os
import ssl
import traceback
import typing as t
from urllib.parse import urlencode, urlsplit

from .._common._errors import (
    AuthenticationError,
    AutoscaleError,
    BackendDownError,
    InvalidSpecError,
    NotFoundError,
    StaleError,
    UnsettledError,
)
from .._common._http import ResponseError, innermost, shorten
from .._common._module import ArgumentSpec, option

try:
    import urllib3
    from kubernetes import client as kube_client
    from kubernetes import config as kube_config
except ImportError:
    urllib3 = kube_client = kube_config = None
    HAS_KUBERNETES = False
    KUBERNETES_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_KUBERNETES = True
    KUBERNETES_IMPORT_ERROR = None

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
REST_TYPE = "application/vnd.vmware.dms-v1+json"
#: Path, and the names of the two fields of the body.
LOGINS = {
    "dsm": ("/provider/session", "email", "password"),
    "vsphere": ("/provider/plugin/session-using-vc-credentials", "username", "password"),
}
TLS_REMEDY = "Give the CA of DSM in ca_path, or correct the host name; validate_certs=false is for laboratories."


CONNECTION_SPEC = ArgumentSpec(
    {
        "url": option("DSM_URL"),
        "email": option("DSM_EMAIL"),
        "password": option("DSM_PASSWORD", no_log=True),
        "login": {"type": "str", "choices": ["dsm", "vsphere"], "default": "dsm"},
        "kubeconfig": option("DSM_KUBECONFIG", type="path"),
        "context": {"type": "str"},
        "validate_certs": option("DSM_VALIDATE_CERTS", type="bool", default=True),
        "ca_path": option("DSM_CA_PATH", type="path"),
        "namespace": option("DSM_NAMESPACE", default="default"),
    },
    mutually_exclusive=[("url", "kubeconfig")],
    required_one_of=[("url", "kubeconfig")],
    required_by={"url": ("email", "password"), "context": ("kubeconfig",)},
)


class Api:
    """Calls to one gateway. Use as a context manager.

    :param pool: urllib3's pool manager as the kubernetes client set it up.
    :param base: ``https://host:port``.
    :param login: gives the headers that authorize; called before the first call and once more on 401.
    :param secrets: texts that must not stand in an error.
    """

    def __init__(
        self,
        pool: t.Any,
        base: str,
        login: t.Callable[[Api], dict[str, str]],
        *,
        namespace: str = "default",
        secrets: t.Iterable[str] = (),
    ) -> None:
        self.base = base.rstrip("/")
        self.namespace = namespace
        self.secrets = {text for text in secrets if text}
        self._pool = pool
        self._login = login
        self._headers: dict[str, str] | None = None

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._pool.clear()

    def call(self, what: str, method: str, path: str, body: t.Any = None, **params: str) -> t.Any:
        """Send one request and decode the answer; *what* completes the sentence "Could not ...".

        :raises NotFoundError: 404.
        :raises StaleError: 409.
        :raises AuthenticationError: 401, also after a new login.
        :raises UnsettledError: a change was sent, and 5xx or nothing usable came back.
        :raises BackendDownError: refused, name, TLS, timeout, 5xx to a read.
        :raises ResponseError: anything else that is not 2xx.
        """
        if self._headers is None:
            self._headers = self._login(self)
        target = path + ("?" + urlencode(params) if params else "")
        response = self.send(what, method, target, body, self._headers)
        if response.status == 401:
            self._headers = self._login(self)
            response = self.send(what, method, target, body, self._headers)
        if not 200 <= response.status < 300:
            raise self._refused(what, method, response)
        try:
            return json.loads(response.data)
        except ValueError:
            kind = BackendDownError if method == "GET" else UnsettledError
            raise kind(
                f"Could not {what}: {self.base} answered something else than JSON: {self.clean(response.data)}",
                remedy="Check that the address is that of DSM, and not of a proxy or a web page.",
            ) from None

    def send(self, what: str, method: str, path: str, body: t.Any, headers: t.Mapping[str, str]) -> t.Any:
        """One request as it is; urllib3 repeats a connection that was never made, and reads that were cut."""
        sent = {"Accept": "application/json", "Content-Type": "application/json", **headers}
        try:
            return self._pool.request(
                method,
                self.base + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=sent,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._broken(what, method, error) from None  # its text has headers in some versions

    def clean(self, text: t.Any) -> str:
        """One short line without passwords and tokens."""
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for secret in sorted(self.secrets, key=len, reverse=True):
            plain = plain.replace(secret, "********")
        return shorten(plain)

    def _refused(self, what: str, method: str, response: t.Any) -> AutoscaleError:
        status, said = response.status, self._said(response)
        message = f"Could not {what}: {self.base} answered {status}: {said}"
        if status == 401:
            return AuthenticationError(message, remedy="Check the account in DSM, or fetch a new kubeconfig.")
        if status == 404:
            return NotFoundError(message)
        if status == 409:
            return StaleError(message)
        if status >= 500:
            if method == "GET":
                return BackendDownError(message, remedy="Try again when DSM can serve.")
            return UnsettledError(message)
        remedy = ""
        if status == 403:
            remedy = (
                "A DSM_ADMIN or DSM_USER may touch databases, an INFRA_ADMIN infrastructure only; "
                "use an account with the role for this, in a namespace that it is bound to."
            )
        elif status == 429:
            remedy = "Try again later."
        elif 300 <= status < 400:
            remedy = f"Redirects are not followed; set url to {response.headers.get('Location', 'the new address')}."
        return ResponseError(message, status=status, remedy=remedy)

    def _said(self, response: t.Any) -> str:
        """The message of a Kubernetes Status, else the text."""
        try:
            found = json.loads(response.data)
        except ValueError:
            found = None
        text = found.get("message") if isinstance(found, dict) else None
        return self.clean(text or response.data or response.reason or "nothing")

    def _broken(self, what: str, method: str, error: BaseException) -> AutoscaleError:
        text = f"{type(error).__name__} {error}"
        message = f"Could not {what}: {self.base}: "
        if "certificate verify failed" in text or "doesn't match" in text:
            return BackendDownError(
                f"{message}its certificate is not trusted ({self._cause(error)})", remedy=TLS_REMEDY
            )
        if "NameResolutionError" in text or "getaddrinfo" in text or "Name or service not known" in text:
            return BackendDownError(
                f"{message}the host name cannot be resolved", remedy="Check the spelling and the DNS of this machine."
            )
        if "Connection refused" in text:
            return BackendDownError(
                f"{message}the connection was refused", remedy="Check the address and the port, and that DSM runs."
            )
        if "ConnectTimeoutError" in text:
            return BackendDownError(
                f"{message}no connection within {CONNECT_TIMEOUT_S:g} s",
                remedy="Check the address, the port and the firewalls between this machine and DSM.",
            )
        late = "ReadTimeoutError" in text or "Read timed out" in text
        cause = f"no answer within {READ_TIMEOUT_S:g} s" if late else f"the connection broke ({self._cause(error)})"
        if method == "GET":
            return BackendDownError(message + cause, remedy="Try again when DSM can serve.")
        return UnsettledError(message + cause)

    def _cause(self, error: BaseException) -> str:
        return self.clean(innermost(error))


def connect(params: t.Mapping[str, t.Any]) -> Api:
    """A connection (nothing is sent yet) from the options of :data:`CONNECTION_SPEC`."""
    if params["kubeconfig"]:
        return _from_kubeconfig(params)
    parts = urlsplit(params["url"])
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise InvalidSpecError("url is not an https address", remedy="Give it as https://dsm.example.org.")
    configuration = kube_client.Configuration(host=params["url"])
    configuration.verify_ssl = params["validate_certs"]
    pool = _pool(configuration, _tls(params["validate_certs"], params["ca_path"]))
    return Api(
        pool, params["url"], _password_login(params), namespace=params["namespace"], secrets=[params["password"]]
    )


def _password_login(params: t.Mapping[str, t.Any]) -> t.Callable[[Api], dict[str, str]]:
    path, user, word = LOGINS[params["login"]]

    def login(api: Api) -> dict[str, str]:
        what = f"log in as {params['email']}"
        body = {user: params["email"], word: params["password"]}
        response = api.send(what, "POST", path, body, {"Accept": REST_TYPE})
        where = f"Could not {what}: {api.base}{path}"
        if response.status in (400, 401, 403):
            raise AuthenticationError(
                f"{where} refused the account or the password ({response.status})",
                remedy="Check email and password; an account of vCenter needs login=vsphere.",
            )
        if not 200 <= response.status < 300:
            text = f"{where} answered {response.status}: {api.clean(response.data)}"
            if response.status == 404:
                raise NotFoundError(text, remedy="Check that url is the address of DSM.")
            raise BackendDownError(text, remedy="Try again when DSM can serve.")
        token = response.headers.get("Authorization", "")
        if not token:
            raise AuthenticationError(
                f"{where} answered {response.status} without a token in the header Authorization",
                remedy="Check that url is the address of DSM, and that no proxy takes the header away.",
            )
        api.secrets.update((token, token.split(" ")[-1]))
        return {"Authorization": token}

    return login


def _from_kubeconfig(params: t.Mapping[str, t.Any]) -> Api:
    path = params["kubeconfig"]

    def load() -> t.Any:
        try:
            found = kube_client.Configuration()
            kube_config.load_kube_config(path, context=params["context"], client_configuration=found)
        except (kube_config.ConfigException, OSError, ValueError, TypeError, AttributeError) as error:
            raise InvalidSpecError(
                f"kubeconfig {path} cannot be used: {shorten(str(error))}", remedy="Check the file and the context."
            ) from None
        return found

    def login(api: Api) -> dict[str, str]:
        """Its token, read again, as others may have renewed it."""
        headers = {
            setting["key"]: setting["value"]
            for setting in load().auth_settings().values()
            if setting["in"] == "header" and setting["value"]
        }
        for value in headers.values():
            api.secrets.update((value, value.split(" ")[-1]))
        return headers

    configuration = load()
    checked = params["validate_certs"] and configuration.verify_ssl
    configuration.verify_ssl = checked
    data = getattr(configuration, "ca_cert_data", None)
    context = _tls(checked, params["ca_path"] or configuration.ssl_ca_cert, None if params["ca_path"] else data)
    return Api(_pool(configuration, context), configuration.host, login, namespace=params["namespace"])


def _tls(checked: bool, ca_path: str | None, ca_data: t.Any = None) -> ssl.SSLContext:
    """Who is trusted. Python >= 3.13 refuses a CA whose basicConstraints are not critical, as DSM's own may be."""
    try:
        context = ssl.create_default_context(
            cafile=None if ca_path and os.path.isdir(ca_path) else ca_path,
            capath=ca_path if ca_path and os.path.isdir(ca_path) else None,
            cadata=ca_data,
        )
    except OSError as error:
        raise InvalidSpecError(
            f"ca_path {ca_path} cannot be used: {error.strerror or error}",
            remedy="Name a readable file or folder with the CA certificates in PEM form.",
        ) from error
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not checked:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _pool(configuration: t.Any, context: ssl.SSLContext) -> t.Any:
    """The kubernetes client's connections, with our TLS and with repetition only where it can do no harm."""
    configuration.retries = urllib3.Retry(
        total=None,
        connect=3,
        read=2,
        status=2,
        other=0,
        redirect=0,
        allowed_methods=("GET",),
        status_forcelist=(502, 503, 504),
        backoff_factor=0.2,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    pool = kube_client.ApiClient(configuration).rest_client.pool_manager
    pool.connection_pool_kw["ssl_context"] = context
    for key in ("ca_certs", "ca_cert_data"):
        pool.connection_pool_kw.pop(key, None)
    if context.verify_mode == ssl.CERT_NONE:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return pool
