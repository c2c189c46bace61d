# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The connection options of the fragment ``onprem.autoscale._f5``, and the rows that information modules return.
"""

from __future__ import annotations

import typing as t

from .._common._module import ArgumentSpec, option
from ._pools import Member, Pool


def connection_spec() -> ArgumentSpec:
    """Options of the fragment ``onprem.autoscale._f5``."""
    return ArgumentSpec(
        {
            "hostname": option("F5_SERVER", required=True),
            "port": option("F5_SERVER_PORT", type="int", default=443),
            "username": option("F5_USER", required=True),
            "password": option("F5_PASSWORD", required=True, no_log=True),
            "provider": {"type": "str", "default": "tmos"},
            "validate_certs": option("F5_VALIDATE_CERTS", type="bool", default=True),
            "ca_path": option("F5_CA_PATH", type="path"),
            "timeout": {"type": "int", "default": 30},
            "busy_timeout": {"type": "int", "default": 120},
        }
    )


def member_row(member: Member) -> dict[str, t.Any]:
    """One member of a pool in ``f5_pool_info``."""
    return {
        "name": member.name,
        "address": member.address,
        "port": member.port,
        "description": member.description,
        "session": member.session,
        "state": member.state,
        "standing": member.standing,
        "enabled": member.standing == "enabled",
        "availability": member.availability,
        "reason": member.reason,
        "in_service": member.in_service,
        "connections": member.connections,
        "connections_total": member.connections_total,
        "ratio": member.ratio,
        "priority_group": member.priority_group,
        "connection_limit": member.connection_limit,
    }


def pool_row(pool: Pool) -> dict[str, t.Any]:
    """One pool in ``f5_pool_info``; members by address and port."""
    members = [pool.members[key] for key in sorted(pool.members)]
    return {
        "name": pool.name,
        "partition": pool.partition,
        "monitor": pool.monitor or None,
        "load_balancing_mode": pool.mode,
        "service_down_action": pool.service_down_action,
        "available_members": pool.available_members,
        "members": [member_row(member) for member in members],
    }
