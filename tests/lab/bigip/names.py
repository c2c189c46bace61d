# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names as the device writes them: ``/Common/web-pool``, ``~Common~web-pool``, ``10.0.0.1:80``, ``fe80::1.80``."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote

from .errors import ApiError, configuration_error, invalid_value

SERVICES = {"any": 0, "ssh": 22, "domain": 53, "http": 80, "https": 443, "webcache": 8080}


def from_uri(part: str, partition: str = "Common") -> str:
    """Full path of an object from its part of the URI (already unquoted): ``~Common~x`` or plain ``x``."""
    if part.startswith("~"):
        return part.replace("~", "/")
    return f"/{partition}/{part}"


def to_uri(path: str) -> str:
    """The part of a URI that names the object at *path*."""
    return quote(path, safe=":/.-_").replace("/", "~")


def full_path(name: str, partition: str = "Common") -> str:
    """*name* with its partition, unless it carries one."""
    return name if name.startswith("/") else f"/{partition}/{name}"


def split_path(path: str) -> tuple[str, str]:
    """Partition and last part of a full path."""
    parts = path.split("/")
    return parts[1], parts[-1]


def split_member(name: str) -> tuple[str, int]:
    """Node name and port of a member's name: a dot stands before the port of an IPv6 address.

    :raises ApiError: 400 when there is no port.
    """
    node, _separator, port = name.rpartition("." if name.count(":") > 1 else ":")
    number = SERVICES.get(port, int(port) if re.fullmatch(r"\d{1,5}", port) else -1)
    if not node or not 0 <= number <= 65535:
        raise configuration_error(f"{name} is not a pool member: an address or node name and a port are needed.")
    return node, number


def is_address(text: str) -> bool:
    """Whether *text* is an IP address, a route domain (``%1``) allowed."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def host(address: str) -> str:
    """*address* without the route domain: what a socket takes."""
    return address.partition("%")[0]


def split_destination(destination: str) -> tuple[str, int]:
    """Address and port of a virtual server's destination, with or without the partition before it."""
    name = destination.rpartition("/")[2]
    try:
        address, port = split_member(name)
    except ApiError:
        raise invalid_value("destination", destination) from None
    if not is_address(address):
        raise invalid_value("destination", destination)
    return address, port


def monitor_names(expression: str) -> tuple[list[str], int]:
    """Full paths of the monitors in a monitor rule and how many must pass.

    ``/Common/http and /Common/tcp`` wants all; ``min 1 of { /Common/a /Common/b }`` wants one (braces optional).
    """
    text = expression.strip()
    if text in {"", "none", "/Common/none"}:
        return [], 0
    least = re.match(r"min\s+(\d+)\s+of\s+", text)
    if least:
        names = [full_path(name) for name in re.sub(r"[{}]", " ", text[least.end() :]).split()]
        return names, min(int(least.group(1)), len(names))
    names = [full_path(name) for name in re.split(r"\s+and\s+", text)]
    return names, len(names)


def monitor_rule(expression: str) -> str:
    """The monitor rule as the device reads it back."""
    names, least = monitor_names(expression)
    if expression.strip().startswith("min "):
        return f"min {least} of {{ {' '.join(names)} }}"
    return " and ".join(names)
