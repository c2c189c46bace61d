# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' network: a bridge of this machine, an address each, the way out by NAT."""

from __future__ import annotations

import os
import zlib

from .system import run

INDEX = int(os.environ.get("LAB_INDEX") or 0)
BRIDGE = f"oashosts{INDEX}"
#: Unique a lab, so that two runs on one machine do not meet.
SUBNET = f"10.97.{INDEX}"
GATEWAY = f"{SUBNET}.1"


def up() -> None:
    """Make the bridge and its NAT; again is no change. Forwarding stays switched on."""
    if not _exists(BRIDGE):
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{GATEWAY}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    run("nft", f"add table ip {BRIDGE}")
    run("nft", f"flush table ip {BRIDGE}")
    run("nft", f"add chain ip {BRIDGE} post {{ type nat hook postrouting priority 100 ; }}")
    outside = f"ip saddr {SUBNET}.0/24 ip daddr != {SUBNET}.0/24"
    run("nft", f"add rule ip {BRIDGE} post {outside} masquerade")


def down() -> None:
    """Remove both."""
    run("ip", "link", "del", BRIDGE, quiet=True)
    run("nft", f"delete table ip {BRIDGE}", quiet=True)


def _exists(link: str) -> bool:
    return link in run("ip", "-o", "link", "show", "dev", link, quiet=True)


def link_name(host: str) -> str:
    """Of the host's cable on the bridge: 15 characters at most, whatever the host is called."""
    return f"oah{zlib.crc32(f'{INDEX}/{host}'.encode()):08x}"


def namespace(host: str) -> str:
    return f"oas{INDEX}-{host}"


def plug(host: str, address: str) -> None:
    """A network namespace for *host* with its address on the bridge."""
    space, link = namespace(host), link_name(host)
    run("ip", "netns", "add", space)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
    run("ip", "link", "set", link, "master", BRIDGE, "up")
    run("ip", "-n", space, "link", "set", "lo", "up")
    run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
    run("ip", "-n", space, "link", "set", "eth0", "up")
    run("ip", "-n", space, "route", "add", "default", "via", GATEWAY)


def unplug(host: str) -> None:
    """The link goes first: a socket that is left over would keep namespace and link for minutes."""
    run("ip", "link", "del", link_name(host), quiet=True)
    run("ip", "netns", "del", namespace(host), quiet=True)
