# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people have set up before a recovery plan is made, by the products' own clients."""

from __future__ import annotations

from collections.abc import Mapping

from avi.sdk.avi_api import ApiSession

from ..avi.spawn import Avi
from ..process import LabError
from .settings import SERVICES

TTL = 2


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
