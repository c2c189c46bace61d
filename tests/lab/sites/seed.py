# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people have set up before a recovery plan is made, by the products' own clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avi.sdk.avi_api import ApiSession

from ..avi.spawn import Avi
from ..process import LabError
from .settings import DNS_PORT, SERVICES, SitesSettings

TTL = 1
MONITOR_S = 3
#: For so long clients may be sent to a site that has just died: its monitor finds out, and they keep what they know.
GSLB_PERIOD_S = MONITOR_S + 1.0 + TTL


def gtm_config(settings: SitesSettings, site: str) -> dict[str, Any]:
    """BIG-IP DNS of a site: the first site alone is enabled; a sync group of the two."""
    sites = settings.sites
    monitor = {
        "name": "shop-health",
        "type": "http",
        "send": "GET /health HTTP/1.0\\r\\n\\r\\n",
        "recv": "200",
        "interval": 1,
        "timeout": MONITOR_S,
        "probeTimeout": 1,
    }
    servers = []
    for name, one in sites.items():
        virtual = {"name": "shop-vip", "destination": one.vip, "monitor": "/Common/shop-health"}
        servers.append(
            {
                "name": f"site-{name}",
                "product": "generic-host",
                "datacenter": f"/Common/site-{name}",
                "devices": [{"name": f"site-{name}", "addresses": [{"name": one.address(100)}]}],
                "virtualServers": [virtual],
            }
        )
    members = [
        {
            "name": f"site-{name}:shop-vip",
            "memberOrder": number,
            **({"disabled": True} if number else {"enabled": True}),
        }
        for number, name in enumerate(sites)
    ]
    pool = {"name": "shop", "type": "a", "ttl": TTL, "loadBalancingMode": "round-robin", "members": members}
    wideip = {"name": SERVICES["shop"], "type": "a", "pools": [{"name": "shop", "order": 0}]}
    return {
        "listen": f"{sites[site].address(53)}:{DNS_PORT}",
        "peers": [f"http://{one.host}:{one.bigip_control_port}" for name, one in sites.items() if name != site],
        "monitors": [monitor],
        "datacenters": [{"name": f"site-{name}"} for name in sites],
        "servers": servers,
        "pools": [pool],
        "wideips": [wideip],
    }


def avi_service(avi: Avi, members: Mapping[str, str]) -> None:
    """The service ``shop`` in Avi's GSLB: a pool for each site, the first one's is used."""
    row = avi.row
    api = ApiSession(
        row["hostname"], row["username"], row["password"], port=row["port"], verify=row["ca"], api_version="30.2.1"
    )
    api.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
    groups = [
        {
            "name": f"site-{site}",
            "priority": 20 - number,
            "members": [{"ip": {"addr": address, "type": "V4"}, "enabled": not number}],
        }
        for number, (site, address) in enumerate(members.items())
    ]
    body = {"name": "shop", "domain_names": [SERVICES["pilot"]], "ttl": TTL, "groups": groups}
    answer = api.post("gslbservice", data=body)
    if answer.status_code >= 300:
        raise LabError(f"Avi does not take the service: {answer.status_code} {answer.text}")
