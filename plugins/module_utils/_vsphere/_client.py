# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One session with a vCenter: TLS, deadlines, one place that turns what can go wrong into an error a person understands.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
import traceback
import typing as t
from dataclasses import dataclass, field
from xml.parsers import expat

from .._common._errors import AuthenticationError, AutoscaleError, BackendDownError, InvalidSpecError, RefusedError
from .._common._module import ArgumentSpec, option

try:
    from pyVim.connect import Disconnect, SmartConnect
    from pyVmomi import vim, vmodl
except ImportError:
    SmartConnect = Disconnect = vim = vmodl = None
    HAS_PYVMOMI = False
    PYVMOMI_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_PYVMOMI = True
    PYVMOMI_IMPORT_ERROR = None

T = t.TypeVar("T")

#: Seconds during which a lost connection is tried again; every call that we make may be made twice.
PATIENCE_S = 10.0
#: What pyVmomi makes of an answer that is no SOAP, such as the error page of a load balancer.
NO_SOAP = "Raising a non-exception object"
PRIVILEGES_REMEDY = (
    "Give the role of this user that privilege on the object (docs/privileges.md lists all that are needed)"
)

CONNECTION_SPEC = ArgumentSpec(
    {
        "hostname": option("VMWARE_HOST", required=True),
        "port": option("VMWARE_PORT", type="int", default=443),
        "username": option("VMWARE_USER", required=True),
        "password": option("VMWARE_PASSWORD", required=True, no_log=True),
        "validate_certs": option("VMWARE_VALIDATE_CERTS", type="bool", default=True),
        "ca_path": {"type": "path"},
        "connection_timeout": {"type": "int", "default": 30},
    }
)


@dataclass(frozen=True)
class Settings:
    """Where and how to log in; ``timeout`` in seconds bounds the connect and each answer."""

    hostname: str
    username: str
    password: str = field(repr=False)
    port: int = 443
    validate_certs: bool = True
    ca_path: str | None = None
    timeout: float = 30.0

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Settings:
        """Settings from a module's parameters (fragment ``onprem.autoscale._vsphere``)."""
        return cls(
            hostname=params["hostname"],
            username=params["username"],
            password=params["password"],
            port=params["port"],
            validate_certs=params["validate_certs"],
            ca_path=params["ca_path"],
            timeout=params["connection_timeout"],
        )

    @property
    def where(self) -> str:
        """``host:port``, as errors name the vCenter."""
        return f"{self.hostname}:{self.port}"


class FaultError(RefusedError):
    """vCenter answered with a fault; ``fault`` is pyVmomi's object, for callers to whom some faults are no failure."""

    def __init__(self, message: str, fault: t.Any, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.fault = fault


def fault_name(fault: t.Any) -> str:
    """The short type name of a fault (``DuplicateName``)."""
    return type(fault).__name__.rsplit(".", 1)[-1]


def describe_fault(fault: t.Any) -> tuple[str, str]:
    """What vCenter said, in one sentence, and what to do about it (``""`` where nothing sensible can be said)."""
    kind = fault_name(fault)
    text = (getattr(fault, "msg", None) or "").strip().rstrip(".")
    if kind == "NoPermission":
        return f"the user lacks the privilege {getattr(fault, 'privilegeId', None) or '(not named)'}", PRIVILEGES_REMEDY
    details = [
        f"{name} {value}"
        for name in ("invalidProperty", "reason", "name", "datastore", "existingState", "requestedState")
        if isinstance(value := getattr(fault, name, None), str) and value and value not in text
    ]
    said = f"{kind}: {text}" if text and kind not in text else (text or kind)
    remedies = {
        "InsufficientStorageSpace": "Free space on the datastore or name another one",
        "NoDiskSpace": "Free space on the datastore or name another one",
        "NicSettingMismatch": "The template's number of network cards does not fit; set network.name to replace them",
        "InvalidPowerState": "",
        "TaskInProgress": "Another task works on the object; run again when it has ended",
        "UncustomizableGuest": "Install open-vm-tools and perl in the template, or set customization to cloudinit",
        "CustomizationPending": "The template still has a customization pending; power it on once or make it again",
    }
    for name in ("InsufficientResourcesFault", "InsufficientHostCapacityFault", "InsufficientFailoverResourcesFault"):
        if any(base.__name__.endswith(name) for base in type(fault).__mro__):
            remedies[kind] = "The cluster or resource pool has no room left; name another one or free capacity"
    return f"{said} ({', '.join(details)})" if details else said, remedies.get(kind, "")


class Client:
    """A logged-in session. Use as a context manager: it always logs out.

    ``call`` is the only way to the server; it logs in once more when the session has expired, and tries again for
    some seconds when the connection is lost. That is safe because each call here may be made twice: names are unique,
    so a second clone of a name is refused, and power and destroy calls say that they are done already.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._sleep = sleep
        self._instance: t.Any = None
        self.content: t.Any = None
        #: Logins after the first; a view or a page of an answer does not outlive the session that it was made in.
        self.renewals = 0

    def __enter__(self) -> Client:
        self.connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def connect(self) -> None:
        """Log in; for some seconds again when the connection breaks off or something else than vCenter answers.

        :raises BackendDownError: nothing answers, no such name, or a certificate that is not trusted.
        :raises AuthenticationError: vCenter refused the user or the password.
        """
        started = self._clock()
        while True:
            try:
                return self._connect()
            except AutoscaleError:
                raise
            except Exception as error:  # pyVmomi raises bare Exception when the other side is no vCenter
                if not _may_pass(error) or self._clock() - started > PATIENCE_S:
                    raise self._connect_error(error) from error
            self._sleep(0.5)

    def _connect(self) -> None:
        settings = self.settings
        previous = socket.getdefaulttimeout()
        socket.setdefaulttimeout(settings.timeout)  # pyVmomi's version probe takes no timeout of its own
        try:
            self._instance = SmartConnect(
                host=settings.hostname,
                port=settings.port,
                user=settings.username,
                pwd=settings.password,
                sslContext=self._tls_context(),
                httpConnectionTimeout=settings.timeout,
            )
            self.content = self._instance.RetrieveContent()
        finally:
            socket.setdefaulttimeout(previous)

    def close(self) -> None:
        """Log out; a session that is gone already is no error."""
        instance, self._instance = self._instance, None
        if instance is None:
            return
        with contextlib.suppress(Exception):  # nothing that a reader could do; vCenter ends idle sessions itself
            Disconnect(instance)

    def call(self, what: str, method: t.Callable[..., T], *args: t.Any, **kwargs: t.Any) -> T:
        """Call *method* of a managed object; *what* completes the sentence "could not ...".

        :raises FaultError: vCenter refused; has the fault.
        :raises AuthenticationError: the session expired and a new login did not help.
        :raises BackendDownError: no connection or no vCenter for ten seconds, or no answer within the timeout.
        """
        started = self._clock()
        logged_in_again = False
        while True:
            try:
                return method(*args, **kwargs)
            except vim.fault.NotAuthenticated as error:
                if logged_in_again:
                    raise self._expired(what) from error
                self._login_again(what)
                logged_in_again = True
            except vmodl.MethodFault as fault:
                said, remedy = describe_fault(fault)
                raise FaultError(f"Could not {what}: {said}", fault, remedy=remedy) from fault
            except Exception as error:
                if not _unanswered(error):
                    raise
                if self._clock() - started > PATIENCE_S:
                    raise BackendDownError(
                        f"Could not {what}: the connection to vCenter {self.settings.where} was lost ({_text(error)})",
                        remedy="Run again once vCenter answers; what is half done is continued",
                    ) from error
                self._sleep(0.5)

    def now(self) -> t.Any:
        """vCenter's own clock (datetime), to which its events and tasks are stamped."""
        return self.call("read vCenter's clock", self._instance.CurrentTime)

    @property
    def api_version(self) -> tuple[int, ...]:
        """Like ``(8, 0, 3, 0)``; some properties exist from a version on only."""
        return tuple(int(part) for part in self.content.about.apiVersion.split(".") if part.isdigit())

    def reference(self, kind: t.Any, moid: str) -> t.Any:
        """A managed object of *kind* (like ``vim.Task``) in this session."""
        return kind(moid, self._instance._stub)

    def _tls_context(self) -> ssl.SSLContext:
        if not self.settings.validate_certs:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            return ssl.create_default_context(cafile=self.settings.ca_path)
        except OSError as error:
            raise InvalidSpecError(
                f"ca_path {self.settings.ca_path} cannot be used: {_text(error)}",
                remedy="Name a readable file with the CA certificates in PEM form",
            ) from error

    def _login_again(self, what: str) -> None:
        settings = self.settings
        try:
            self.content.sessionManager.Login(settings.username, settings.password, None)
            self.renewals += 1
        except vmodl.MethodFault as error:
            raise self._expired(what) from error
        except Exception as error:
            if not _unanswered(error):
                raise
            raise self._connect_error(error) from error

    def _expired(self, what: str) -> AuthenticationError:
        return AuthenticationError(
            f"Could not {what}: the vCenter session expired and a new login as {self.settings.username} at "
            f"{self.settings.where} did not help",
            remedy="Check that the account is not locked and that no one ends its sessions, then run again",
        )

    def _connect_error(self, error: BaseException) -> AutoscaleError:
        settings = self.settings
        if isinstance(error, vim.fault.InvalidLogin):
            return AuthenticationError(
                f"vCenter {settings.where} refused the login of {settings.username}: wrong user name or password",
                remedy="Check username (with its domain, like user@vsphere.local) and password",
            )
        if isinstance(error, vim.fault.NoPermission):
            return AuthenticationError(
                f"vCenter {settings.where} lets {settings.username} in but not see anything", remedy=PRIVILEGES_REMEDY
            )
        text = _text(error)
        remedy = "Check hostname, port, firewall and that the vCenter service runs"
        cause = f"no usable answer ({text})"
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
            reason = getattr(error, "verify_message", "") or text
            cause = f"its certificate is not trusted ({reason})"
            remedy = "Set ca_path to the CA that signed it; validate_certs=false only in a lab"
        elif isinstance(error, ssl.SSLError):
            cause = f"no TLS on that port ({text})"
        elif isinstance(error, socket.gaierror):
            cause = "the name does not resolve"
            remedy = "Check hostname and the DNS of the machine that runs the module"
        elif isinstance(error, TimeoutError) or "timed out" in text:
            cause = f"no answer within {settings.timeout:g} s"
        elif isinstance(error, ConnectionRefusedError):
            cause = "the connection was refused"
        elif "is not a VIM server" in text or "no SOAP" in text:
            cause = "what answers there is not a vCenter"
        return BackendDownError(f"Could not connect to vCenter {settings.where}: {cause}", remedy=remedy)


def _unanswered(error: BaseException) -> bool:
    """No usable answer came: the connection was lost, or something answered that does not speak SOAP."""
    return isinstance(error, (OSError, http.client.HTTPException, expat.ExpatError)) or NO_SOAP in str(error)


def _may_pass(error: BaseException) -> bool:
    """Whether a login that failed so may succeed a moment later: broken off, or the error page of a load balancer.

    A port where nothing listens, a name, a certificate and a timeout are told at once.
    """
    text = _text(error)
    if isinstance(error, (ConnectionRefusedError, TimeoutError, socket.gaierror)) or "timed out" in text:
        return False
    if isinstance(error, ssl.SSLError):
        return "EOF" in text
    return isinstance(error, vim.fault.HostConnectFault) or _unanswered(error) or "is not a VIM server" in text


def _text(error: BaseException) -> str:
    said = str(getattr(error, "msg", None) or error or type(error).__name__).strip().rstrip(".")
    return "the answer is no SOAP" if said.startswith(NO_SOAP) else said
