# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations

import ipaddress
import typing as t

from ._spec import Network


def free_addresses(network: Network, taken: t.Collection[str]) -> t.Iterator[str]:
    """Addresses of the pool that nobody is known to have, ascending.

    Skips *taken*, the gateway, the name servers, the VIP, base members, and the network and broadcast addresses.

    :param taken: leased, observed or otherwise used addresses; what is no address is ignored.
    """
    subnet = ipaddress.ip_network(network.cidr)
    used = {network.gateway, *network.dns_servers, *network.reserved, *taken}
    used |= {str(subnet.network_address), str(subnet.broadcast_address)}
    first, last = ipaddress.ip_address(network.start), ipaddress.ip_address(network.end)
    for offset in range(int(last) - int(first) + 1):
        address = str(first + offset)
        if address not in used:
            yield address
