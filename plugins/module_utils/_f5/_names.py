# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

How the BIG-IP names things: ``~Common~web-pool`` in paths, ``10.0.0.1:80`` and ``fd00::1.80`` for members.
"""

from __future__ import annotations

import ipaddress
import typing as t
from urllib.parse import quote

from .._common._errors import InvalidSpecError


def object_path(partition: str, name: str) -> str:
    """The path element of an object: ``("Common", "web-pool")`` -> ``~Common~web-pool``; ``%`` becomes ``%25``."""
    return "~" + "~".join(quote(part, safe=":.-_~") for part in f"{partition}/{name.lstrip('/')}".split("/"))


def full_name(partition: str, name: str) -> str:
    """What the BIG-IP calls ``fullPath``: ``/Common/web-pool``."""
    return f"/{partition}/{name}"


def split_full_name(text: str, partition: str = "Common") -> tuple[str, str]:
    """``/Prod/x`` -> ``("Prod", "x")``; a bare name belongs to *partition*."""
    if not text.startswith("/"):
        return partition, text
    owner, _slash, name = text[1:].partition("/")
    return owner, name


def canonical_address(address: str) -> str:
    """One spelling for each address: IPv6 compressed and in lower case, a route domain (``%2``) kept.

    :raises InvalidSpecError: when it is no IP address.
    """
    plain, percent, domain = address.strip().partition("%")
    try:
        return f"{ipaddress.ip_address(plain)}{percent}{domain}"
    except ValueError:
        raise InvalidSpecError(
            f"members: address {address!r} is not an IP address",
            remedy="Give an IPv4 or IPv6 address, with a route domain as in 10.0.0.1%2 where one is used.",
        ) from None


def member_name(node: str, port: int) -> str:
    """The name of a member: a dot stands before the port where the node's name has colons (IPv6)."""
    return f"{node}{'.' if ':' in node else ':'}{port}"


def split_member_name(name: str) -> tuple[str, int]:
    """``10.0.0.1:80`` -> ``("10.0.0.1", 80)``, ``fd00::1.80`` -> ``("fd00::1", 80)``; a port by name is 0."""
    node, _mark, port = name.rpartition("." if name.count(":") > 1 else ":")
    return node, int(port) if port.isdigit() else 0


class Key(t.NamedTuple):
    """What makes a member of a pool the same member: the address and the port, however its node is called."""

    address: str
    port: int

    def __str__(self) -> str:
        return member_name(self.address, self.port)
