# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One site: the lab's usual parts, and what only two sites need."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import requests
import yaml

from ..avi.spawn import Avi
from ..debs import binary
from ..dsm.kubeapi import KubeApi
from ..dsm.spawn import Dsm
from ..harbor.spawn import Harbor
from ..pais.spawn import Pais
from ..postgres import Postgres
from ..process import LabError, answers
from ..settings import REPO
from ..supervisor import Lab
from .clients import CLUSTERS
from .marks import kill, marked, processes
from .settings import DNS_PORT, SERVICES, SiteSettings

PROBE_S = 0.25  # how often the service is asked by its name
PAIS_KEYS = ("url", "issuer", "client_id", "client_secret", "username", "password")
BLACKBOX = {
    "modules": {
        "service": {
            "prober": "http",
            "timeout": "2s",
            "http": {"valid_status_codes": [200], "follow_redirects": False, "skip_resolve_phase_with_proxy": True},
        }
    }
}


class Site(Lab):
    """Started, killed, started again with its data.

    What a kill takes away for good is vCenter's inventory and BIG-IP's pool members: they come back as those of a site
    that was rebuilt, with its base members. Databases, ledger, time series and registries are found again.

    :param resolver: of those who use the service, for who asks for it as they do.
    :param gtm: what BIG-IP DNS starts with; what changed later is had from the other site's.
    """

    settings: SiteSettings

    def __init__(self, settings: SiteSettings, resolver: tuple[str, int], gtm: dict[str, Any]) -> None:
        super().__init__(settings, lambda text: print(text.replace("lab:", f"site {settings.site}:"), flush=True))
        self.resolver = resolver
        self.gtm = gtm
        self.dsm = Dsm(settings.folder / "dsm", name=f"site-{settings.site}")
        ports = {"port": settings.avi_port, "control_port": settings.avi_control_port, "dns_port": DNS_PORT}
        # The other site leads the federation, and may be dead: each may be asked to change it.
        self.avi = Avi(
            settings.folder / "avi",
            settings.site,
            scale=0.05,
            enable_config_by_members=True,
            ports=ports,
            dns_host=settings.address(54),
        )
        self.harbor = Harbor(
            settings.folder / "harbor", port=settings.harbor_port, control_port=settings.harbor_control_port
        )
        self.pais = Pais(settings.folder / "pais", port=settings.pais_port, control_port=settings.pais_control_port)
        self.ledger = Postgres(settings.folder / "postgres", port=settings.ledger_port)

    def up(self, *, fresh: bool = True) -> dict[str, Any]:
        """Start it; the row of sites.json."""
        with marked(self.settings.mark):
            row = super().up(fresh=fresh)
            self._start_extras(fresh)
        connections = {"vsphere": _connection(row["vcenter"]), "f5": _connection(row["bigip"])}
        return {**row, **connections, **self._row()}

    def down(self, *, quiet: bool = False) -> None:
        """Stop it; the data stay."""
        for name in ("blackbox", "proxy"):
            self.part(name).stop()
        self.avi.down()
        self.harbor.down()
        self.pais.down()
        self.dsm.down()
        if self.ledger.running():
            self.ledger.stop()
        super().down(quiet=quiet)

    def kill(self) -> int:
        """SIGKILL to every process at once."""
        return kill(self.settings.mark)

    def running(self) -> int:
        """How many processes it has."""
        return len(processes(self.settings.mark))

    def remove(self) -> None:
        """Delete the data."""
        self.dsm.remove()
        self.ledger.remove()
        shutil.rmtree(self.settings.folder, ignore_errors=True)

    def close_databases(self, names: Collection[str]) -> None:
        """Block clients in DSM of a site that is down: only its API server is started, and stopped again."""
        server = KubeApi(self.settings.folder / "dsm" / "kubeapi")
        server.start()
        try:
            with requests.Session() as http:
                http.trust_env, http.verify = False, str(server.ca)
                http.headers["Authorization"] = f"Bearer {server.token}"
                url = f"{server.url}/{CLUSTERS.format(namespace='default')}"
                deadline = time.monotonic() + 30
                while not (found := http.get(url, timeout=10)).ok:  # 429: "storage is (re)initializing"
                    if time.monotonic() > deadline:
                        raise LabError(f"the databases of a closed site cannot be read: {found.text}")
                    time.sleep(0.1)
                for kind in ("mutating", "validating"):  # DSM answers them, and registers them again when it starts
                    hooks = f"apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations"
                    http.delete(f"{server.url}/{hooks}", timeout=10).raise_for_status()
                for name in names:
                    answer = http.patch(
                        f"{url}/{name}",
                        data=json.dumps({"spec": {"blockDatabaseConnections": True}}),
                        headers={"Content-Type": "application/merge-patch+json"},
                        timeout=10,
                    )
                    if not answer.ok:
                        raise LabError(f"{name} cannot be closed: {answer.text}")
        finally:
            server.stop()

    def _start_extras(self, fresh: bool) -> None:
        self.ledger.start()
        if fresh:
            self.ledger.create_database("ledger")
        self.say(f"lab: ledger on port {self.ledger.port}")
        self.dsm.up()
        self.say(f"lab: DSM on {self.dsm.row['url']}")
        self.avi.up()
        self.say(f"lab: Avi on {self.avi.row['url']}")
        self.harbor.up()
        self.say(f"lab: Harbor on {self.harbor.row['url']}")
        self.pais.up()
        self.say(f"lab: PAIS on {self.pais.row['url']}")
        self._start_proxy()
        self._start_blackbox()

    def _bigip_config(self) -> dict[str, Any]:
        return {**super()._bigip_config(), "gtm": self.gtm}

    def _start_proxy(self) -> None:
        """A client of the service for blackbox_exporter: it finds the name as the users do."""
        settings = self.settings
        listen, resolver = f"{settings.host}:{settings.proxy_port}", "{}:{}".format(*self.resolver)
        part = self.part("proxy")
        part.start(
            [sys.executable, "-m", "lab.sites.proxy", "--listen", listen, "--resolver", resolver],
            environment={"PYTHONPATH": str(REPO / "tests")},
        )
        part.wait_ready(lambda: answers(f"http://{settings.host}:{settings.proxy_port}/-/healthy"))

    def _start_blackbox(self) -> None:
        settings = self.settings
        config: dict[str, Any] = yaml.safe_load(yaml.safe_dump(BLACKBOX))
        config["modules"]["service"]["http"]["proxy_url"] = f"http://{settings.host}:{settings.proxy_port}"
        file = settings.folder / "blackbox" / "blackbox.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(config))
        listen = f"{settings.host}:{settings.blackbox_port}"
        part = self.part("blackbox")
        part.start([str(binary("blackbox_exporter")), f"--config.file={file}", f"--web.listen-address={listen}"])
        part.wait_ready(lambda: answers(f"http://{listen}/-/healthy"))
        self.say(f"lab: blackbox_exporter on http://{listen}")

    def _prometheus_config(self) -> str:
        """With the service by its name; a file that playbooks have added jobs to stays."""
        written = self.settings.folder / "prometheus" / "prometheus.yml"
        if written.exists():
            return written.read_text()
        config = yaml.safe_load(super()._prometheus_config())
        port = self.settings.vip.rpartition(":")[2]
        config["scrape_configs"] += [self._probe(job, name, port) for job, name in SERVICES.items()]
        return yaml.safe_dump(config, sort_keys=False)

    def _probe(self, job: str, name: str, port: str) -> dict[str, Any]:
        """The service as a client finds it, several times a second."""
        exporter = f"{self.settings.host}:{self.settings.blackbox_port}"
        return {
            "job_name": job,
            "scrape_interval": f"{int(PROBE_S * 1000)}ms",
            "scrape_timeout": f"{int(PROBE_S * 1000)}ms",
            "metrics_path": "/probe",
            "params": {"module": ["service"]},
            "static_configs": [{"targets": [f"http://{name}:{port}/health"]}],
            "relabel_configs": [
                {"source_labels": ["__address__"], "target_label": "__param_target"},
                {"source_labels": ["__param_target"], "target_label": "instance"},
                {"target_label": "__address__", "replacement": exporter},
            ],
        }

    def _row(self) -> dict[str, Any]:
        settings = self.settings
        dsm = self.dsm.row
        user, avi, harbor, pais = dsm["users"]["user"], self.avi.row, self.harbor.row, self.pais.row
        return {
            "site": settings.site,
            "mark": settings.mark,
            "ledger": self.ledger.url("ledger"),
            "service": {"host": settings.address(100), "port": int(settings.vip.rpartition(":")[2])},
            "dsm": {
                "url": dsm["url"],
                "email": user["email"],
                "password": user["password"],
                "ca_path": dsm["ca"],
                "namespace": dsm["namespace"],
            },
            "avi": {**{key: avi[key] for key in ("hostname", "port", "username", "password")}, "ca_path": avi["ca"]},
            "avi_control": avi["control"],
            "harbor": {**{key: harbor[key] for key in ("url", "username", "password")}, "ca_path": harbor["ca"]},
            "harbor_control": harbor["control"],
            "pais": {**{key: pais[key] for key in PAIS_KEYS}, "ca_path": pais["ca"]},
            "pais_control": pais["control"],
            "dsm_control": dsm["control"],
            "dsm_kubeconfig": dsm["kubeconfig"],
            "log": str(settings.logs),
        }


def _connection(row: dict[str, Any]) -> dict[str, Any]:
    """What the modules take of a part that lab.json describes."""
    kept = {key: row[key] for key in ("hostname", "port", "username", "ca_path")}
    return {**kept, "password": Path(row["password_file"]).read_text()}
