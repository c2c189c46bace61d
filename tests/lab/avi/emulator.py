# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All rooms together: ``python -m lab.avi.emulator FOLDER`` serves what FOLDER/config.json says, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..dns import DnsServer
from ..rest_faults import Faults
from ..serving import listen, say_ready, server_tls, stop_asked
from .answers import Answers
from .auth import Auth, User
from .control import Control
from .errors import ApiError
from .federation import Federation
from .monitor import Probes
from .rest import Rest, rest_app
from .schema import key_of
from .store import Store, cluster_uuid

LOG = logging.getLogger("lab.avi")
VERSION = "31.2.1"
WATCH_S = 0.1
HOST = "127.0.0.1"


def first_gslb(config: Mapping[str, Any]) -> dict[str, Any]:
    """The federation as it is set up, the same at each site."""
    sites = [
        {
            "name": name,
            "cluster_uuid": cluster_uuid(name),
            "enabled": True,
            "member_type": "GSLB_ACTIVE_MEMBER",
            "ip_addresses": [{"addr": "127.0.0.1", "type": "V4"}],
            "port": port,
        }
        for name, port in config["sites"].items()
    ]
    return {
        "uuid": "gslb-" + cluster_uuid(config["leader"]).partition("-")[2],
        "name": "Default",
        "leader_cluster_uuid": cluster_uuid(config["leader"]),
        "view_id": 0,
        "sites": sites,
        "dns_configs": [{"domain_name": name} for name in config["domains"]],
        "enable_config_by_members": bool(config.get("enable_config_by_members")),
        "maintenance_mode": False,
        "send_interval": 15,
        "leader_change_info": {
            "enabled": True,
            "leader_change_mode": "GSLB_LC_MODE_MANUAL",
            "max_unsuccessful_probes": 15,
        },
    }


class Emulator:
    """One controller of one site.

    :param folder: where its objects are kept.
    :param config: name, sites (name -> port), peers (name -> control address), leader, domains, users, ports, scale.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.config = config
        self.version = {"Version": VERSION, "Product": "controller", "build": 1}
        self.auth = Auth([User(**user) for user in config["users"]])
        self.store = Store(folder / "store.json", first_gslb(config))
        self.faults = Faults()
        scale = float(config["scale"])
        targets = {name: (host, int(port)) for name, (host, port) in config.get("targets", {}).items()}
        self.probes = Probes(scale, targets)
        self.answers = Answers(self.probes.up)
        self.federation = Federation(config["name"], self.store, config["peers"], self._apply, max(0.2, 5 * scale))
        self.dns = DnsServer(self._lookup, (config["dns_host"], config["dns_port"]))
        self.requests: dict[str, int] = {}
        self.interferences: dict[str, tuple[dict[str, Any], int]] = {}
        self._stack = contextlib.AsyncExitStack()
        self._watch: asyncio.Task[None] | None = None

    async def start(self, tls: ssl.SSLContext) -> None:
        """Listen: control, the other sites, DNS, and REST last."""
        await listen(self._stack, Control(self).app(), HOST, self.config["control_port"])
        await self.federation.start()
        self._apply()
        self._watch = asyncio.get_running_loop().create_task(self._watching())
        await self.dns.start()
        await listen(self._stack, rest_app(self), HOST, self.config["port"], tls)

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await self.dns.stop()
        await self.federation.stop()
        self.probes.stop()
        await self._stack.aclose()

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            self.answers.watch(self.store.all("gslbservice"))

    # -- changes -------------------------------------------------------------------------------------------------------

    async def changed(self, *, tell: bool = False) -> None:
        """Bring what runs into line with the objects, and the other sites, too, with *tell*."""
        self._apply()
        if tell:
            await self.federation.tell()

    def _apply(self) -> None:
        services = self.store.all("gslbservice")
        self.probes.apply(services, lambda ref: self.store.objects["healthmonitor"].get(ref.rpartition("/")[2]))
        self.answers.watch(services)

    def touch(self, name: str, fields: Mapping[str, Any]) -> None:
        """Somebody else saves a service."""
        found = next(one for one in self.store.all("gslbservice") if one["name"] == name)
        self.store.put("gslbservice", {**found, **fields})

    def interfere(self, name: str) -> None:
        """What a test said shall happen just before a PUT."""
        fields, left = self.interferences.get(name, ({}, 0))
        if left > 0:
            self.interferences[name] = (fields, left - 1)
            self.touch(name, fields)

    async def seed(self, given: Mapping[str, Any]) -> None:
        """Objects by REST bodies, whoever leads. :raises ApiError: what REST would say."""
        rest = Rest(self)
        for key, kind in (("healthmonitors", "healthmonitor"), ("services", "gslbservice")):
            for body in given.get(key, []):
                full = rest.whole(kind, body)
                old = next((one for one in self.store.all(kind) if one["name"] == full["name"]), None)
                if old is None:
                    self.store.add(kind, full)
                else:
                    self.store.put(kind, {**full, "uuid": old["uuid"]})
        await self.changed(tell=True)

    # -- what is seen --------------------------------------------------------------------------------------------------

    def _lookup(self, name: str) -> tuple[list[str], int] | None:
        return self.answers.lookup(self.store.all("gslbservice"), name)

    def runtime(self, service: Mapping[str, Any]) -> dict[str, Any]:
        """GslbServiceRuntime, as far as somebody reads it."""
        groups = []
        for group in service["groups"]:
            members = []
            for member in group["members"]:
                status = {"state": self.answers.state(service, group, member), "reason": []}
                row = {name: member[name] for name in ("ip", "fqdn", "cluster_uuid", "vs_uuid") if name in member}
                seen = {"site_uuid": self.federation.uuid, "oper_status": status}
                members.append({**row, "oper_status": status, "datapath_status": [seen]})
            groups.append({"name": group["name"], "members": members})
        state = "OPER_UP" if self.answers.serving(service) else "OPER_DOWN"
        return {
            "uuid": service["uuid"],
            "name": service["name"],
            "domain_names": service["domain_names"],
            "oper_status": {"state": state if service["enabled"] else "OPER_DISABLED"},
            "groups": groups,
        }

    def gslb_runtime(self) -> dict[str, Any]:
        """GslbRuntime: what this site sees of the others."""
        rows = []
        for site in self.store.gslb["sites"]:
            up = site["name"] == self.federation.name or self.federation.reached.get(site["name"], False)
            leads = site["cluster_uuid"] == self.store.gslb["leader_cluster_uuid"]
            info = {
                "name": site["name"],
                "cluster_uuid": site["cluster_uuid"],
                "role": "GSLB_LEADER" if leads else "GSLB_FOLLOWER",
                "oper_status": {"state": "OPER_UP" if up else "OPER_DOWN"},
            }
            rows.append({"site_info": info})
        return {"uuid": self.store.gslb["uuid"], "name": self.store.gslb["name"], "site": rows}

    def state(self) -> dict[str, Any]:
        """What a test wants to see at a glance."""
        services = {}
        for one in self.store.all("gslbservice"):
            runtime = self.runtime(one)
            states = [row["oper_status"]["state"] for group in runtime["groups"] for row in group["members"]]
            members = [member for group in one["groups"] for member in group["members"]]
            services[one["name"]] = {
                **one,
                "state": runtime["oper_status"]["state"],
                "members": {
                    key_of(member): {"enabled": member["enabled"], "state": state}
                    for member, state in zip(members, states, strict=True)
                },
                "held": sorted(name for ident, name in self.answers.held if ident == one["uuid"]),
            }
        return {
            "name": self.federation.name,
            "leader": self.federation.leader,
            "is_leader": self.federation.is_leader,
            "reached": self.federation.reached,
            "gslb": self.store.gslb,
            "services": services,
            "healthmonitors": self.store.all("healthmonitor"),
            "sessions": len(self.auth.sessions),
            "logins": self.auth.logins,
            "requests": self.requests,
            "faults": self.faults.show(),
            "queries": self.dns.queries,
        }


async def serve(folder: Path) -> None:
    """Run until SIGTERM."""
    config = json.loads((folder / "config.json").read_text())
    emulator = Emulator(folder, config)
    done = stop_asked()
    await emulator.start(server_tls(config["cert"], config["key"]))
    LOG.info("site %s: https on port %s, DNS on %s", config["name"], config["port"], config["dns_port"])
    say_ready(folder / "ready.json", {})
    await done.wait()
    await emulator.stop()


def main() -> int:
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        asyncio.run(serve(Path(sys.argv[1])))
    except (ApiError, OSError, ValueError) as error:
        sys.stderr.write(f"lab.avi: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
