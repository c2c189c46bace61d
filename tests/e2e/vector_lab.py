# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Emulated DSMs, an inventory that declares a store in them, and the clients of the store.

Everything lies in one temporary folder and carries one mark in its environment, so that what is left behind is seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import requests
import yaml

from lab.dsm.spawn import Dsm
from lab.pgserver import packaged_programs
from lab.process import LabError, start_time

STORE = "demo"
TABLE = "docs"
INDEX = "docs_embedding_hnsw"
MARK = "ONPREM_AUTOSCALE_VECTOR_LAB"
CLUSTERS = "apis/databases.dataservices.vmware.com/v1alpha1/{namespace}/postgresclusters"
SECRETS = "api/v1/{namespace}/secrets"
REPLICATION = {
    "role": "secondary",
    "allowFullCopy": False,
    "source": {
        "host": "{{ dr_source.host }}",
        "port": "{{ dr_source.port | int }}",
        "username": "{{ dr_source.username }}",
        "passwordRef": {"name": "{{ dr_source.secret }}"},
        "slot": "{{ dr_slot }}",
    },
}
DR_PATCHES = {
    "secondary": {"labReplication": {**REPLICATION, "allowFullCopy": True}},
    "promote": {"labReplication": {"role": "primary"}},
    "demote": {"labReplication": REPLICATION},
}


def declaration(dimension: int, *, replicas: int = 1) -> dict[str, Any]:
    """The store, as its owner declares it."""
    return {
        "vector_store_name": STORE,
        "vector_store_database": STORE,
        "vector_store_cluster": {
            "version": "18",
            "replicas": replicas,
            "vm_class": "small",
            "storage_space": "20Gi",
            "storage_policy": "gold",
            "infrastructure_policy": "ai",
        },
        "vector_store_nodes_query": "labNodes",
        "vector_store_dr_patches": DR_PATCHES,
        "vector_store_roles": [{"name": "app", "access": "write"}, {"name": "search", "access": "read"}],
        "vector_store_tables": [
            {
                "name": TABLE,
                "columns": [
                    {"name": "id", "type": "bigint", "primary_key": True},
                    {"name": "title", "type": "text"},
                ],
                "vector": {"column": "embedding", "dimension": dimension, "distance": "cosine"},
            }
        ],
        "vector_store_indexes": [
            {"name": INDEX, "table": TABLE, "column": "embedding", "method": "hnsw", "m": 16, "ef_construction": 64}
        ],
    }


class VectorLab:
    """One DSM for each of *sites*.

    :param out: where the inventory and the playbooks' output go; it is kept.
    """

    def __init__(
        self, out: Path, sites: Sequence[str] = ("site-a",), *, dimension: int = 384, replicas: int = 1
    ) -> None:
        self.out = out
        self.sites = tuple(sites)
        self.declared = declaration(dimension, replicas=replicas)
        self.passwords = {name: f"{name}-{secrets.token_hex(12)}" for name in ("app", "search")}
        self.rows: dict[str, dict[str, Any]] = {}
        # Servers run as another user, who must get to their data; every file in it is its owner's alone.
        self.folder = Path(tempfile.mkdtemp(prefix="onprem-autoscale-vectors-"))
        self.folder.chmod(0o711)
        self._mark = secrets.token_hex(8)
        self._before = {MARK: os.environ.get(MARK), "TMPDIR": os.environ.get("TMPDIR")}
        self._dsms: dict[str, Dsm] = {}

    # ---- up and down -------------------------------------------------------------------------------------------------
    def up(self) -> None:
        """Start the DSMs; write the inventory."""
        temporary = self.folder / "tmp"
        temporary.mkdir(mode=0o711)
        os.environ.update({MARK: self._mark, "TMPDIR": str(temporary)})
        tempfile.tempdir = None
        for site in self.sites:
            self._dsms[site] = Dsm(self.folder / site, name=site)
            self.rows[site] = self._dsms[site].up()
        self._write_inventory()

    def down(self) -> dict[str, int]:
        """Stop and remove everything; what was left behind, by kind, which is then removed all the same."""
        for dsm in self._dsms.values():
            dsm.remove()
        processes = self._marked()
        leaked = {"processes": len(processes), "folders": len(self._left())}
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None
        shutil.rmtree(self.folder, ignore_errors=True)
        return leaked

    def _left(self) -> list[Path]:
        """In the folder for temporary things, of which each has an owner who removes it."""
        temporary = self.folder / "tmp"
        return sorted(temporary.iterdir()) if temporary.exists() else []

    def _marked(self) -> list[int]:
        mark, found = f"{MARK}={self._mark}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found += [int(entry.name)] if start_time(int(entry.name)) is not None else []
        return found

    def accounts(self, **changes: Any) -> dict[str, dict[str, Any]]:
        """The DSMs, as the inventory has them."""
        return {
            site: {
                "url": row["url"],
                "email": row["users"]["user"]["email"],
                "password": row["users"]["user"]["password"],
                "ca_path": row["ca"],
                "namespace": row["namespace"],
                **changes,
            }
            for site, row in self.rows.items()
        }

    def write_private(self, changes: Mapping[str, Any] | None = None) -> None:
        """What in real life is encrypted by ansible-vault, and what differs from a machine to the next."""
        private = {
            "autoscale_dsm": self.accounts(),
            "vector_store_passwords": self.passwords,
            "vector_store_passfile_dir": str(self.folder / "passfiles"),
            # The lab's own pg_dump, which knows no TLS.
            "autoscale_pg_programs": {"folder": str(packaged_programs()), "environment": {"PGSSLMODE": "disable"}},
            "vector_store_site": next(iter(self.sites), "local"),
        }
        self._write("group_vars/all/vault.yml", {**private, **(changes or {})})

    def _write_inventory(self) -> None:
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        self._write("hosts.yml", {"all": {"hosts": {"localhost": host}}})
        self._write(f"vector_stores/{STORE}.yml", self.declared)
        self.write_private()
        (self.folder / "ca.pem").write_text("".join(Path(row["ca"]).read_text() for row in self.rows.values()))
        lines = [f"*:*:*:{name}:{password}\n" for name, password in self.passwords.items()]
        self._private(self.folder / "clients.pgpass", "".join(lines))

    def _write(self, name: str, content: Any) -> None:
        path = self.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._private(path, yaml.safe_dump(content, sort_keys=False))

    @staticmethod
    def _private(path: Path, text: str) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    # ---- playbooks and modules ---------------------------------------------------------------------------------------
    @property
    def inventory(self) -> Path:
        return self.folder / "inventory"

    def command(self, name: str, *arguments: str, **variables: Any) -> list[str]:
        """A playbook by its full name, as a person runs it."""
        extra = json.dumps({"store": STORE, **variables})
        hosts = str(self.inventory / "hosts.yml")
        return ["ansible-playbook", f"onprem.autoscale.{name}", "-i", hosts, "-e", extra, *arguments]

    def module(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One module in a process of its own, as Ansible runs it."""
        done = subprocess.run(
            [sys.executable, "-m", f"ansible_collections.onprem.autoscale.plugins.modules.{name}"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments)}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        result = json.loads(lines[-1]) if lines else {"failed": True, "msg": done.stdout + done.stderr}
        if result.get("failed"):
            raise LabError(f"{name}: {result.get('msg')}")
        return result

    # ---- what the store's clients know -------------------------------------------------------------------------------
    def api(self, site: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A call to DSM's Kubernetes API in the store's namespace, as its administrator and without the collection."""
        row = self.rows[site]
        token = yaml.safe_load(Path(row["kubeconfig"]).read_text())["users"][0]["user"]["token"]
        answer = requests.request(
            method,
            f"{row['url']}/{path.format(namespace='namespaces/' + row['namespace'])}",
            json=body,
            headers={
                "Authorization": f"Bearer {token}",
                **({"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}),
            },
            verify=row["ca"],
            timeout=30,
        )
        if not answer.ok:
            raise LabError(f"{method} {path} at {site}: {answer.status_code} {answer.text}")
        return answer.json()

    def status(self, site: str) -> dict[str, Any]:
        """Of the cluster, as DSM says it."""
        return self.api(site, "GET", f"{CLUSTERS}/{STORE}").get("status") or {}

    def address(self, *sites: str) -> dict[str, str]:
        """Host and port of the cluster, in libpq's form; of several ones the first that takes writes."""
        connections = [self.status(site)["connection"] for site in sites]
        several = {"target_session_attrs": "read-write"} if len(sites) > 1 else {}
        hosts, ports = ([str(connection[key]) for connection in connections] for key in ("host", "port"))
        return {"host": ",".join(hosts), "port": ",".join(ports), **several}

    def login(self, role: str = "app", **address: Any) -> dict[str, Any]:
        """What :func:`psycopg.connect` takes; the server's certificate is verified."""
        return {
            **address,
            "dbname": STORE,
            "user": role,
            "passfile": str(self.folder / "clients.pgpass"),
            "sslmode": "verify-full",
            "sslrootcert": str(self.folder / "ca.pem"),
            "connect_timeout": 5,
        }

    def connect(self, site: str, role: str = "search") -> psycopg.Connection[Any]:
        """To the cluster of a site, whichever instance serves there."""
        return psycopg.connect(**self.login(role, **self.address(site)), autocommit=True)

    def nodes(self, site: str) -> list[dict[str, Any]]:
        """The cluster's instances: ``name``, ``host``, ``port``, ``role``."""
        return list(self.status(site).get("labNodes") or [])

    def control(self, site: str, method: str, path: str, body: Any = None) -> Any:
        """A call to the control port of an emulated DSM."""
        return self._dsms[site].call(method, path, body)


def until(what: str, done: Any, timeout: float = 30.0) -> Any:
    """Call *done* until it says something true; what the servers refuse meanwhile is no answer yet."""
    deadline, last = time.monotonic() + timeout, ""
    while time.monotonic() < deadline:
        try:
            value = done()
            if value:
                return value
        except (psycopg.OperationalError, OSError) as error:
            last = f"; the last error: {error}"
        time.sleep(0.1)
    raise LabError(f"{what}: not within {timeout:g} s{last}")
