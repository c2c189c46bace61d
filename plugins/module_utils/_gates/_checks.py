# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One attempt of one gate. A gate is a mapping as in a group's declaration: ``type`` and ``port``, and for http ``path``,
``scheme``, ``status``, ``contains``, ``regex``, ``validate_certs``.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
import typing as t

from .._common._http import url_host

try:
    import requests
    import urllib3

    HAS_REQUESTS = True
except ImportError:
    HAS_REQUESTS = False

Gate = t.Mapping[str, t.Any]
#: More of a body is not read; a health page is short.
MAX_BODY_BYTES = 1 << 16


class Failed(Exception):
    """The attempt did not pass; the text says why, in words for people."""


def url_of(address: str, gate: Gate) -> str:
    """The page that an http gate asks for."""
    path = gate.get("path") or "/"
    return f"{gate.get('scheme') or 'http'}://{url_host(address)}:{gate['port']}{path}"


def label_of(gate: Gate) -> str:
    """``http 8080 /health``, ``tcp 9100``."""
    if gate["type"] == "http":
        return f"{gate.get('scheme') or 'http'} {gate['port']} {gate.get('path') or '/'}"
    return f"tcp {gate['port']}"


def check(address: str, gate: Gate, timeout: float) -> str:
    """One attempt.

    :param timeout: seconds for all of it.
    :returns: what was seen, for people.
    :raises Failed: it did not pass.
    """
    return _check_http(address, gate, timeout) if gate["type"] == "http" else _check_tcp(address, gate, timeout)


def _check_tcp(address: str, gate: Gate, timeout: float) -> str:
    try:
        with socket.create_connection((address, gate["port"]), timeout=timeout):
            return "connected"
    except TimeoutError:
        raise Failed(f"no connection within {timeout:g} s") from None
    except OSError as error:
        raise Failed(reason_of(error)) from None


def reason_of(error: OSError) -> str:
    """``connection refused`` and the like."""
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return text[:1].lower() + text[1:]


def _check_http(address: str, gate: Gate, timeout: float) -> str:
    deadline = time.monotonic() + timeout
    verify = gate.get("validate_certs")
    verify = True if verify is None else bool(verify)
    if not verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        with requests.Session() as session:
            # A proxy from the environment would answer for the member.
            session.trust_env = False
            with session.get(
                url_of(address, gate),
                timeout=timeout,
                verify=verify,
                allow_redirects=False,
                stream=True,
                headers={"User-Agent": "onprem.autoscale", "Connection": "close"},
            ) as answer:
                body = _read(answer, deadline) if _wants_body(gate) else ""
    except requests.exceptions.Timeout:
        raise Failed(f"no answer within {timeout:g} s") from None
    except requests.exceptions.SSLError as error:
        raise Failed(f"TLS: {_innermost(error)}") from None
    except requests.exceptions.RequestException as error:
        raise Failed(_innermost(error)) from None
    return _judge(gate, answer.status_code, body)


def _wants_body(gate: Gate) -> bool:
    return gate.get("contains") is not None or gate.get("regex") is not None


def _read(answer: t.Any, deadline: float) -> str:
    """The body up to the limit; the deadline holds for a server that sends drop by drop, too."""
    body = bytearray()
    # Byte by byte, as a longer read returns only when it is full.
    for chunk in answer.iter_content(1):
        body += chunk
        if len(body) >= MAX_BODY_BYTES:
            break
        if time.monotonic() > deadline:
            raise Failed("the body did not end in time")
    return body.decode(answer.encoding or "utf-8", errors="replace")


def _judge(gate: Gate, status: int, body: str) -> str:
    wanted = gate.get("status") or 200
    if status != wanted:
        raise Failed(f"status {status} instead of {wanted}")
    contains, regex = gate.get("contains"), gate.get("regex")
    if contains is not None and contains not in body:
        raise Failed(f"status {status}, but the body does not contain {contains!r}")
    if regex is not None and not re.search(regex, body):
        raise Failed(f"status {status}, but the body does not match {regex!r}")
    return f"status {status}"


def _innermost(error: BaseException) -> str:
    """The last cause of a chain that requests and urllib3 wrapped: ``connection refused``."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        # The numbers of TLS and of requests are not those of the system.
        if isinstance(current, ssl.SSLError):
            return getattr(current, "verify_message", "") or current.reason or str(current)
        if isinstance(current, OSError) and current.errno and not isinstance(current, requests.RequestException):
            return reason_of(current)
        inner = [item for item in current.args if isinstance(item, BaseException)]
        current = inner[0] if inner else getattr(current, "reason", None) or current.__cause__ or current.__context__
        current = current if isinstance(current, BaseException) else None
    return str(seen[-1]) or type(seen[-1]).__name__
