# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password comes out of the vector playbooks: not at -vvv, not in a log, an argument, a file, a ledger (C1 to C5).

Every password of two sites is looked for: those that the inventory holds, and all that the Secrets of both DSMs hold in
the end, among them those that nobody chose. tests/e2e/test_leaks.py proves that the search finds what is there.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.leaks import Secrets, Watched, files_with
from e2e.vector_lab import SECRETS, TABLE, VectorLab

from lab.vectors import Cloud, load, missing

A, B = "site-a", "site-b"
DIMENSION = 8
LOUD = ("-vvv", "--diff")
# Password files of libpq, the inventory's vault, and what a DSM keeps for itself.
KEEPER = re.compile(r"pgpass|/passfiles/|/vault\.yml$|/site-[ab]/(config\.json|kubeconfig|kubeapi/|secrets/)")


class Watch:
    """Runs playbooks one after the other, and remembers what was seen of each."""

    def __init__(self, lab: VectorLab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.runs: dict[str, Watched] = {}

    def play(self, title: str, name: str, *arguments: str, **variables: object) -> int:
        watched = Watched(self.folder / str(len(self.runs)))
        self.runs[title] = watched
        return watched.run(self.lab.command(name, *LOUD, *arguments, **variables))

    def findings(self, looked_for: Secrets) -> list[str]:
        """Of all runs."""
        return [f"{title}: {line}" for title, watched in self.runs.items() for line in watched.findings(looked_for)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[VectorLab]:
    made = VectorLab(tmp_path_factory.mktemp("store"), (A, B), dimension=DIMENSION, replicas=0)
    try:
        made.up()
        yield made
    finally:
        made.down()


def inventory_words(lab: VectorLab) -> dict[str, str]:
    """Passwords that the inventory holds: of the accounts at both DSMs and of the store's roles."""
    accounts = {f"DSM's {name} at {site}": user["password"] for site in lab.rows for name, user in users(lab, site)}
    return {**accounts, **{f"role {name}": password for name, password in lab.passwords.items()}}


def users(lab: VectorLab, site: str):
    return lab.rows[site]["users"].items()


def secret_words(lab: VectorLab) -> dict[str, str]:
    """Everything that the Secrets of both DSMs hold, but names."""
    found = {}
    for site in lab.rows:
        for row in lab.api(site, "GET", SECRETS)["items"]:
            for key, value in (row.get("data") or {}).items():
                word = base64.b64decode(value).decode()
                if key not in ("username", "user"):
                    found[f"{key} of Secret {row['metadata']['name']} at {site}"] = word
    return found


@pytest.mark.timeout(600)  # seven playbooks, and a busy machine
def test_no_password_comes_out_of_the_vector_playbooks(lab, short_folder):
    watch = Watch(lab, short_folder)
    wrong = f"wrong-{secrets.token_hex(12)}"

    # What fails prints more than what works: the wrong password of an account, before anything is there.
    lab.write_private({"autoscale_dsm": lab.accounts(password=wrong)})
    assert watch.play("refused", "vector_store") != 0
    lab.write_private()

    assert watch.play("created", "vector_store") == 0, watch.runs["created"].text()[-4000:]
    with lab.connect(A, "app") as connection:
        load(connection, TABLE, Cloud(DIMENSION, centres=4), 50)
    assert watch.play("again", "vector_store", "--check") == 0, watch.runs["again"].text()[-4000:]
    sites = {"from": A, "to": B}
    for title, name, options in (
        ("dumped", "vector_store_dump", {"dump_dir": str(short_folder / "dump")}),
        ("replicated", "vector_store_replicate", {"synchronous": True, **sites}),
        ("promoted", "vector_store_promote", {"planned": True, **sites}),
        ("rejoined", "vector_store_rejoin", {"primary": B, "standby": A}),
    ):
        assert watch.play(title, name, **options) == 0, watch.runs[title].text()[-4000:]

    words = {**inventory_words(lab), **secret_words(lab), "the wrong password": wrong, "a token": "eyJhbGciOi"}
    assert len(secret_words(lab)) >= 2, "an administrator's and the replication's"
    looked_for = Secrets(words)
    assert watch.findings(looked_for) == []

    # What must hold a password does, for its owner alone; a ledger, an event, a server's data, a dump is no such place.
    keepers = {where: mode for where, mode, _names in files_with(looked_for, lab.folder, lab.out, short_folder)}
    assert {str(where) for where in keepers if not KEEPER.search(str(where))} == set()
    assert {str(where): oct(mode) for where, mode in keepers.items() if mode & 0o077} == {}
    assert lab.folder / "clients.pgpass" in keepers, "the search has seen one that is there"
    for title, watched in watch.runs.items():
        assert any(b"ansible-playbook" in command for command in watched.sampler.arguments), title
    with lab.connect(B) as connection:
        assert missing(connection, TABLE, range(50)) == [], "the playbooks did what they are watched at"
