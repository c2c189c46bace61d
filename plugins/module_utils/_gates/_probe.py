# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Does somebody use an address? An address that answers is never leased (A8). No answer is no proof that it is free: a
firewall may drop everything. That is why the ledger and vCenter are asked first.
"""

from __future__ import annotations

import concurrent.futures
import errno
import math
import selectors
import shutil
import socket
import subprocess
import time
import typing as t

from .._common._errors import AutoscaleError
from ._checks import reason_of

METHODS = ("tcp_open", "tcp_refused", "ping")
MAX_THREADS = 32
_REMEDY = "Give the controller a way to ask, or choose other network.probe.methods (an empty list asks nobody)"
#: What says that nobody answered: no reply in time, and no reply to ARP.
_SILENCE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN)
#: A host that answers, but not with a connection.
_REFUSALS = (errno.ECONNREFUSED, errno.ECONNRESET)


def answers(address: str, methods: t.Collection[str], ports: t.Iterable[int], timeout: float) -> str | None:
    """Why *address* is in use, as text for people; None when nobody answered.

    :param methods: of ``tcp_open`` (a port accepts), ``tcp_refused`` (a port refuses, so a host is there), ``ping``.
        An open port counts for ``tcp_refused`` too: a host is there.
    :param ports: for the tcp methods; all are tried at once.
    :param timeout: seconds for all ports together, and for the ping.
    :raises AutoscaleError: this machine cannot ask: it has no route, or no ping command, or may not send.
    """
    unknown = sorted(set(methods) - set(METHODS))
    if unknown:
        raise AutoscaleError(f"There is no probe method {', '.join(unknown)}", remedy=f"Use {', '.join(METHODS)}")
    echo = _start_ping(address, timeout) if "ping" in methods else None
    try:
        if {"tcp_open", "tcp_refused"} & set(methods):
            found = _try_ports(address, ports, timeout, refusals="tcp_refused" in methods)
            if found:
                return found
        return _end_ping(address, echo, timeout) if echo else None
    finally:
        if echo and echo.poll() is None:
            echo.kill()
        if echo:
            echo.communicate()


def probe_many(
    addresses: t.Iterable[str], methods: t.Collection[str], ports: t.Collection[int], timeout: float
) -> dict[str, str | None]:
    """:func:`answers` for many addresses in parallel: address -> reason or None, in the order of *addresses*."""
    wanted = list(dict.fromkeys(addresses))
    if not wanted:
        return {}
    with concurrent.futures.ThreadPoolExecutor(min(len(wanted), MAX_THREADS)) as pool:
        found = pool.map(lambda address: answers(address, methods, ports, timeout), wanted)
        return dict(zip(wanted, found, strict=True))


def _try_ports(address: str, ports: t.Iterable[int], timeout: float, *, refusals: bool) -> str | None:
    """Connect to all *ports* at once; the first answer counts."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        try:
            for port in dict.fromkeys(ports):
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                # Registered before the connect, so that the socket is closed whatever happens.
                selector.register(sock, selectors.EVENT_WRITE, port)
                code = sock.connect_ex((address, port))
                if code not in (0, errno.EINPROGRESS):
                    selector.unregister(sock)
                    sock.close()
                    found = _judge(address, port, code, refusals)
                    if found:
                        return found
            while selector.get_map() and (left := deadline - time.monotonic()) > 0:
                for key, _events in selector.select(left):
                    sock = t.cast(socket.socket, key.fileobj)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    selector.unregister(sock)
                    sock.close()
                    found = _judge(address, key.data, code, refusals)
                    if found:
                        return found
            return None
        finally:
            for key in list(selector.get_map().values()):
                t.cast(socket.socket, key.fileobj).close()


def _judge(address: str, port: int, code: int, refusals: bool) -> str | None:
    if code == 0:
        return f"{address} accepts connections on TCP port {port}"
    if code in _REFUSALS:
        return f"{address} refuses connections on TCP port {port}, so a host is there" if refusals else None
    if code in _SILENCE:
        return None
    text = reason_of(OSError(code, ""))
    raise AutoscaleError(f"Whether {address} is in use cannot be asked on TCP port {port}: {text}", remedy=_REMEDY)


def _start_ping(address: str, timeout: float) -> subprocess.Popen[str]:
    command = shutil.which("ping")
    if not command:
        raise AutoscaleError(
            f"Whether {address} is in use cannot be asked: there is no ping command on this machine", remedy=_REMEDY
        )
    # Whole seconds, as some versions know no others.
    arguments = [command, "-n", "-q", "-c", "1", "-W", str(max(1, math.ceil(timeout))), address]
    # Runs on the controller, in an action plugin: there is no module whose run_command could be called.
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _end_ping(address: str, echo: subprocess.Popen[str], timeout: float) -> str | None:
    """0 is an answer and 1 is none; anything else means that ping could not ask."""
    try:
        _out, text = echo.communicate(timeout=max(1, math.ceil(timeout)) + 5)
    except subprocess.TimeoutExpired:
        raise AutoscaleError(f"ping {address} does not end", remedy=_REMEDY) from None
    if echo.returncode == 0:
        return f"{address} answers ping"
    if echo.returncode == 1 and not text.strip():
        return None
    raise AutoscaleError(f"Whether {address} is in use cannot be asked by ping: {text.strip()}", remedy=_REMEDY)
