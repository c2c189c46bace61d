# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pais_settings between two sites: out of one, into the other, the same files again; and what is refused (D2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from lab.faults.spawn import FaultProxy
from lab.kit import free_port
from lab.pais.kinds import KINDS
from lab.pais.spawn import Pais

Run = Callable[..., dict[str, Any]]
API = "/api/v1/"
KEYS = ("url", "issuer", "client_id", "client_secret", "username", "password")
PASSWORD = "ge:heim-S3cret"
TOKEN = "mcp-t0ken-of-a"
SECRETS = {"data-sources/drive/credentials/password": PASSWORD, "mcp-servers/web/auth_token": TOKEN}


class Client:
    """A client of our own."""

    def __init__(self, pais: Pais) -> None:
        self.pais = pais
        self.row = row = pais.row
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = row["ca"]
        form = {"grant_type": "client_credentials", **{key: row[key] for key in ("client_id", "client_secret")}}
        answer = self.session.post(f"{row['issuer']}/token", data=form, timeout=30).json()
        self.session.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def make(self, kind: str, base: str = "", **fields: Any) -> str:
        path = KINDS[kind].path.replace("{kb}", base)
        answer = self.session.post(f"{self.row['url']}{API}{path}", json=fields, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def call(self, method: str, path: str, **fields: Any) -> None:
        answer = self.session.request(method, f"{self.row['url']}{API}{path}", json=fields or None, timeout=30)
        assert answer.ok, answer.text

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        return self.pais.objects(kind)

    def clear(self) -> None:
        for kind, rows in self.pais.call("GET", "/objects").items():
            for row in rows if kind != "indexes" else ():
                self.call("DELETE", f"{KINDS[kind].path}/{row['id']}")

    def fill(self) -> dict[str, str]:
        """One of each, with references and secrets; more data sources than a page of the server holds."""
        login = {"type": "basic", "username": "reader", "password": PASSWORD}
        self.make("data-sources", name="drive", type="HTTP", origin_url="https://files.example.org", credentials=login)
        for number in range(6):
            self.make("data-sources", name=f"s{number:02}")
        server = self.make("mcp-servers", name="web", url="https://mcp.example.org", auth_token=TOKEN)
        policy = {"policy_type": "SCHEDULED", "cron_expression": "0 3 * * *"}
        base = self.make(
            "knowledge-bases", name="docs / v1", data_origin_type="DATA_SOURCES", index_refresh_policy=policy
        )
        index = self.make("indexes", base, name="main", embeddings_model_endpoint="bge", chunk_size=800)
        tools = [{"link_type": "PAIS_MCP_TOOL_LINK", "tool_id": f"tool-{server}", "server": "web"}]
        text = "Answer shortly.\nSay what you do not know.\n"
        self.make("agents", name="helper", model="llama", instructions=text, index_id=index, tools=tools)
        return {"base": base, "index": index, "server": server}


class Sites:
    """Two sites and the module."""

    def __init__(self, a: Pais, b: Pais, run_module: Run) -> None:
        self.a, self.b = Client(a), Client(b)
        self._run = run_module

    def run(self, site: Client, state: str, folder: Path, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """A result; no secret stands in it, whatever happened."""
        connection = {"ca_path": site.row["ca"], **{key: site.row[key] for key in KEYS}}
        given = {**connection, "state": state, "folder": str(folder), **options}
        given = {key: value for key, value in given.items() if value is not None}
        result = self._run("pais_settings", given, check=check, diff=True)
        told = json.dumps(result)
        hidden = (PASSWORD, TOKEN, site.row["password"], site.row["client_secret"])
        assert [secret for secret in hidden if secret in told] == []
        return result

    def ok(self, *args: Any, **options: Any) -> dict[str, Any]:
        result = self.run(*args, **options)
        assert not result["failed"], result
        return result

    def refused(self, *args: Any, **options: Any) -> str:
        result = self.run(*args, **options)
        assert result["failed"], result
        return result["msg"]


@pytest.fixture(scope="module")
def started(run_module: Run) -> Iterator[Sites]:
    with Pais.temporary() as a, Pais.temporary() as b:
        sites = Sites(a, b, run_module)
        sites.a.fill()
        yield sites


@pytest.fixture
def sites(started: Sites) -> Iterator[Sites]:
    """The first site is filled, the second empty; tests change the second only."""
    yield started
    started.b.clear()


@pytest.fixture(scope="module")
def files(started: Sites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings") / "pais"
    started.ok(started.a, "exported", folder)
    return folder


@pytest.fixture
def copy(files: Path, tmp_path: Path) -> Path:
    """Files of the test's own."""
    for path in files.rglob("*.yml"):
        target = tmp_path / path.relative_to(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(folder: Path, name: str, **fields: Any) -> None:
    path = folder / name
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **fields}))


# -- out ---------------------------------------------------------------------------------------------------------------


def test_files_have_names_for_ids_and_for_secrets_and_no_time(sites: Sites, files: Path) -> None:
    found = contents(files)
    assert len(found) == 11
    everything = b"".join(found.values()).decode()
    ids = [row["id"] for rows in sites.a.pais.call("GET", "/objects").values() for row in rows]
    assert [text for text in (*ids, PASSWORD, TOKEN, "********", "created_at", "READY") if text in everything] == []
    agent = yaml.safe_load(found["agents/helper.yml"])
    assert agent["index_id"] == {"reference": {"kind": "indexes", "knowledge_base": "docs / v1", "name": "main"}}
    assert agent["tools"][0]["tool_id"] == {"reference": {"kind": "mcp-tools", "server": "web", "name": "search"}}
    assert b"instructions: |\n  Answer shortly.\n  Say what" in found["agents/helper.yml"]
    index = yaml.safe_load(found["indexes/docs %2F v1/main.yml"])
    assert (index["knowledge_base"], index["chunk_size"]) == ("docs / v1", 800)
    drive = yaml.safe_load(found["data-sources/drive.yml"])
    assert drive["credentials"]["username"] == "reader"
    assert drive["credentials"]["password"] == {"secret": "data-sources/drive/credentials/password"}


def test_the_same_site_gives_the_same_bytes(sites: Sites, files: Path, tmp_path: Path) -> None:
    before = contents(files)
    times = {path: path.stat().st_mtime_ns for path in files.rglob("*.yml")}
    assert not sites.ok(sites.a, "exported", files)["changed"]
    assert {path: path.stat().st_mtime_ns for path in files.rglob("*.yml")} == times
    foreseen = sites.ok(sites.a, "exported", tmp_path / "other", check=True)
    assert foreseen["changed"]
    assert not (tmp_path / "other").exists()
    result = sites.ok(sites.a, "exported", tmp_path / "other")
    assert contents(tmp_path / "other") == before
    assert result["secrets"] == sorted(SECRETS)
    assert {row["action"] for row in result["objects"]} == {"written"}


def test_files_of_what_is_gone_stay_until_they_are_pruned(sites: Sites, copy: Path) -> None:
    (copy / "agents" / "old.yml").write_text("name: old\nmodel: x\n")
    assert not sites.ok(sites.a, "exported", copy)["changed"]
    result = sites.ok(sites.a, "exported", copy, prune=True, kinds=["agents"])
    assert [row["file"] for row in result["objects"] if row["action"] == "removed"] == ["agents/old.yml"]
    assert not (copy / "agents" / "old.yml").exists()
    assert (copy / "data-sources" / "s00.yml").exists()


# -- in ----------------------------------------------------------------------------------------------------------------


def test_the_other_site_gets_what_the_files_say_with_ids_of_its_own(sites: Sites, files: Path, tmp_path: Path) -> None:
    foreseen = sites.ok(sites.b, "imported", files, secrets=SECRETS, check=True)
    assert foreseen["changed"]
    assert sites.b.objects("agents") == {}
    result = sites.ok(sites.b, "imported", files, secrets=SECRETS)
    assert result["objects"] == foreseen["objects"]
    assert {row["action"] for row in result["objects"]} == {"created"}
    agent, index = sites.b.objects("agents")["helper"], sites.b.objects("indexes")["main"]
    assert agent["index_id"] == index["id"] != sites.a.objects("indexes")["main"]["id"]
    assert index["kb_id"] == sites.b.objects("knowledge-bases")["docs / v1"]["id"]
    assert agent["tools"][0]["tool_id"] == f"tool-{sites.b.objects('mcp-servers')['web']['id']}"
    assert sites.b.objects("data-sources")["drive"]["credentials"]["password"] == PASSWORD
    assert sites.b.objects("mcp-servers")["web"]["auth_token"] == TOKEN
    assert not sites.ok(sites.b, "imported", files)["changed"]
    sites.ok(sites.b, "exported", tmp_path)
    assert contents(tmp_path) == contents(files)


def test_what_differs_is_updated_and_what_is_more_is_pruned_on_order_only(sites: Sites, copy: Path) -> None:
    sites.ok(sites.b, "imported", copy, secrets=SECRETS)
    sites.b.make("agents", name="extra", model="x")
    change(copy, "agents/helper.yml", instructions="Other.\n", index_id=None)
    change(copy, "data-sources/s01.yml", description="changed")
    result = sites.ok(sites.b, "imported", copy)
    assert {(row["name"], row["action"]) for row in result["objects"] if row["action"] != "unchanged"} == {
        ("helper", "updated"), ("s01", "updated")
    }  # fmt: skip
    agent = sites.b.objects("agents")["helper"]
    assert (agent["instructions"], agent["index_id"], agent["model"]) == ("Other.\n", None, "llama")
    assert sites.b.objects("mcp-servers")["web"]["auth_token"] == TOKEN
    assert sites.ok(sites.b, "imported", copy, prune=True, check=True)["changed"]
    assert "extra" in sites.b.objects("agents")
    assert sites.ok(sites.b, "imported", copy, prune=True)["changed"]
    assert set(sites.b.objects("agents")) == {"helper"}
    assert not sites.ok(sites.b, "imported", copy, prune=True)["changed"]


def test_secrets_are_wanted_where_they_are_written_and_written_again_on_order(sites: Sites, copy: Path) -> None:
    text = sites.refused(sites.b, "imported", copy)
    assert "data-sources/drive/credentials/password, mcp-servers/web/auth_token" in text
    assert sites.b.pais.call("GET", "/objects")["data-sources"] == []
    sites.ok(sites.b, "imported", copy, secrets=SECRETS)
    new = {**SECRETS, "mcp-servers/web/auth_token": "another-0ne"}
    assert not sites.ok(sites.b, "imported", copy, secrets=new)["changed"]
    assert sites.ok(sites.b, "imported", copy, secrets=new, update_secrets="always")["changed"]
    assert sites.b.objects("mcp-servers")["web"]["auth_token"] == "another-0ne"
    login = yaml.safe_load((copy / "data-sources" / "drive.yml").read_text())["credentials"]
    change(copy, "data-sources/drive.yml", credentials={**login, "username": "writer"})
    assert "data-sources/drive/credentials/password" in sites.refused(sites.b, "imported", copy)
    assert sites.ok(sites.b, "imported", copy, secrets=SECRETS)["changed"]
    assert sites.b.objects("data-sources")["drive"]["credentials"] == {
        "type": "basic", "username": "writer", "password": PASSWORD
    }  # fmt: skip


def test_bad_files_are_refused_before_anything_changes(sites: Sites, copy: Path, tmp_path: Path) -> None:
    def refusal(name: str, text: str) -> str:
        path = copy / name
        old = path.read_text() if path.exists() else None
        path.write_text(text)
        try:
            return sites.refused(sites.b, "imported", copy, secrets=SECRETS)
        finally:
            path.write_text(old) if old is not None else path.unlink()

    assert "agents/helper.yml is no YAML" in refusal("agents/helper.yml", "name: [")
    assert "agents/x.yml: name is missing" in refusal("agents/x.yml", "model: y\n")
    assert "are both agents/helper" in refusal("agents/x.yml", "name: helper\n")
    assert "knowledge_base is missing" in refusal("indexes/docs %2F v1/main.yml", "name: main\n")
    nowhere = "name: x\nmodel: y\nindex_id: {reference: {kind: indexes, knowledge_base: docs, name: nowhere}}\n"
    assert "refers to indexes/docs/nowhere, which is neither" in refusal("agents/x.yml", nowhere)
    assert "allowed: kind" in refusal("agents/x.yml", "name: x\nindex_id: {reference: {kind: pods, name: x}}\n")
    assert all(rows == [] for rows in sites.b.pais.call("GET", "/objects").values())


def test_what_cannot_be_changed_and_what_would_delete_all_is_refused(sites: Sites, copy: Path, tmp_path: Path) -> None:
    sites.ok(sites.b, "imported", copy, secrets=SECRETS)
    change(copy, "knowledge-bases/docs %2F v1.yml", data_origin_type="LOCAL_FILES")
    change(copy, "data-sources/s01.yml", description="never written")
    text = sites.refused(sites.b, "imported", copy)
    assert "data_origin_type is LOCAL_FILES, and DATA_SOURCES on" in text
    assert sites.b.objects("data-sources")["s01"]["description"] is None
    empty = tmp_path / "empty"
    assert "There is no folder" in sites.refused(sites.b, "imported", empty)
    empty.mkdir()
    assert "would be deleted" in sites.refused(sites.b, "imported", empty, prune=True)
    assert sites.b.objects("agents")


def test_two_of_one_name_are_refused_in_both_directions(sites: Sites, copy: Path) -> None:
    for _twice in range(2):
        sites.b.make("agents", name="helper", model="x")
    assert "has two agents called helper" in sites.refused(sites.b, "imported", copy, secrets=SECRETS)
    assert "has two agents called helper" in sites.refused(sites.b, "exported", copy)


# -- faults ------------------------------------------------------------------------------------------------------------


def test_down_wrong_account_wrong_token_and_wrong_certificate_are_told(sites: Sites, tmp_path: Path) -> None:
    def text(**options: Any) -> str:
        return sites.refused(sites.b, "exported", tmp_path / "none", **options)

    assert "the connection was refused" in text(url=f"https://127.0.0.1:{free_port()}")
    assert "operator was refused (400)" in text(password="wr0ng-one")
    assert "operator was refused (401)" in text(client_secret="wr0ng-one")
    none = dict.fromkeys(("issuer", "client_id", "client_secret", "username", "password"))
    assert "does not take the token (401)" in text(**none, token="ended")
    assert "the TLS connection failed" in text(ca_path=sites.a.row["ca"])
    assert "without /api" in text(url=f"{sites.b.row['url']}/api/v1")
    assert "update_methods: value is agents: GET" in text(update_methods={"agents": "GET"})
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def proxy(started: Sites, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    row = {"name": "pais", "mode": "https", "upstream": urlsplit(started.b.row["url"]).netloc}
    folder = started.b.pais.folder / "tls"
    tls = {"ca": folder / "ca.pem", "cert": folder / "server.pem", "key": folder / "server.key"}
    with FaultProxy(tmp_path_factory.mktemp("faults"), [row], tls) as running:
        yield running


@pytest.mark.parametrize("fault", ["apply_then_status", "apply_then_cut"])
def test_each_change_whose_answer_is_lost_is_settled_by_reading(
    sites: Sites, proxy: FaultProxy, copy: Path, fault: str
) -> None:
    url = f"https://127.0.0.1:{proxy.ports['pais']}"
    for path in ("control/data-sources", "control/knowledge-bases", "compatibility/openai/v1/agents"):
        proxy.fault("pais", fault, f"POST {API}{path}*")
    assert sites.ok(sites.b, "imported", copy, secrets=SECRETS, url=url)["changed"]
    assert proxy.rules() == []
    assert len(sites.b.pais.call("GET", "/objects")["agents"]) == 1
    change(copy, "agents/helper.yml", instructions="New.")
    change(copy, "data-sources/s01.yml", description="new")
    (copy / "data-sources" / "s02.yml").unlink()
    for call in (f"POST {API}compat*", f"PATCH {API}control/*", f"DELETE {API}control/*"):
        proxy.fault("pais", fault, call)
    assert sites.ok(sites.b, "imported", copy, prune=True, url=url)["changed"]
    assert proxy.rules() == []
    assert not sites.ok(sites.b, "imported", copy, prune=True)["changed"]


def test_who_fails_half_way_says_what_is_done_and_the_next_run_ends_it(
    sites: Sites, proxy: FaultProxy, copy: Path
) -> None:
    url = f"https://127.0.0.1:{proxy.ports['pais']}"
    proxy.fault("pais", "status", f"POST {API}compat*", times=None)
    result = sites.run(sites.b, "imported", copy, secrets=SECRETS, url=url)
    proxy.clear()
    assert "Could not create agents/helper" in result["msg"]
    assert "knowledge-bases/docs / v1" in result["done"]
    assert result["changed"]
    again = sites.ok(sites.b, "imported", copy, secrets=SECRETS)
    assert {row["name"] for row in again["objects"] if row["action"] == "created"} == {"helper"}
