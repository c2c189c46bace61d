# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What administrators and clients of the two sites do, without the collection."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import requests
import yaml

from ..process import LabError

CLUSTERS = "apis/databases.dataservices.vmware.com/v1alpha1/namespaces/{namespace}/postgresclusters"


def session(row: Mapping[str, Any]) -> requests.Session:
    """One that trusts the part's certificate, whatever the environment says."""
    made = requests.Session()
    made.trust_env = False
    made.verify = row["ca_path"]
    return made


def dsm(row: Mapping[str, Any], method: str, path: str, body: Any = None) -> dict[str, Any]:
    """A call to the Kubernetes API of a site's DSM, as its administrator."""
    token = yaml.safe_load(Path(row["dsm_kubeconfig"]).read_text())["users"][0]["user"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    if method == "PATCH":
        headers["Content-Type"] = "application/merge-patch+json"
    url = f"{row['dsm']['url']}/{path.format(namespace=row['dsm']['namespace'])}"
    with session(row["dsm"]) as http:
        answer = http.request(method, url, json=body, headers=headers, timeout=10)
    if not answer.ok:
        raise LabError(f"{method} {path} at {row['site']}: {answer.status_code} {answer.text[:200]}")
    return answer.json()


class SiteLogin:
    """The store of a site, for the role ``app``; its address is asked once, and stays."""

    def __init__(self, row: Mapping[str, Any], store: str, password: str) -> None:
        self.row, self.store, self.password = row, store, password
        self._address: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        if not self._address:
            status = dsm(self.row, "GET", f"{CLUSTERS}/{self.store}").get("status") or {}
            found = status.get("connection") or {}
            if not found.get("port"):
                raise LabError(f"{self.store} has no address at {self.row['site']} yet")
            self._address = {"host": found["host"], "port": found["port"]}
        return {**self._address, "dbname": self.store, "user": "app", "password": self.password, "sslmode": "require"}

    def rows(self) -> list[int]:
        """Ids of all rows that are there."""
        with psycopg.connect(connect_timeout=5, **self()) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM docs")]


def control(url: str, path: str) -> Any:
    """The JSON of a part's control port."""
    with urllib.request.urlopen(url + path, timeout=10) as answer:
        return json.load(answer)


def gslb_member(row: Mapping[str, Any], site: str, enabled: bool) -> None:
    """A site's member of the pool ``shop`` in BIG-IP DNS, as an administrator sets it."""
    bigip = row["f5"]
    url = f"https://{bigip['hostname']}:{bigip['port']}/mgmt/tm/gtm/pool/a/~Common~shop/members/~Common~site-{site}:shop-vip"
    with session(bigip) as http:
        answer = http.patch(
            url,
            json={"enabled": True} if enabled else {"disabled": True},
            auth=(bigip["username"], bigip["password"]),
            timeout=10,
        )
    if not answer.ok:
        raise LabError(f"BIG-IP DNS does not take it: {answer.status_code} {answer.text[:200]}")


def inventory_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a site's vCenter and BIG-IP have: what a drill leaves behind would show here."""
    vms = control(row["vcenter"]["control"], "/vms")
    device = control(row["bigip"]["control"], "/state")
    clusters = dsm(row, "GET", CLUSTERS).get("items") or []
    return {
        "vms": sorted(vm["name"] for vm in vms),
        "pools": sorted(pool["name"] for pool in device["pools"]),
        "virtuals": sorted(virtual["name"] for virtual in device["virtuals"]),
        "clusters": sorted(cluster["metadata"]["name"] for cluster in clusters),
    }
