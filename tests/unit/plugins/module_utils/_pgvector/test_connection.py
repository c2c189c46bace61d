# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session's options and limits, without a server (C1)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import BackendDownError, InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector import _connection
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._build import percent
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._connection import Server

PARAMS = {
    "host": "db", "port": 5432, "database": "docs", "username": "app", "password": None, "passfile": None,
    "sslmode": "verify-full", "ca_path": None, "connect_timeout": 10, "statement_timeout": 300,
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What libpq would be told; the connection is refused."""
    options: dict[str, Any] = {}

    class Refusing:
        @staticmethod
        def connect(**given: Any) -> None:
            options.update(given)
            raise psycopg.OperationalError("Connection refused")

    monkeypatch.setattr(_connection, "_patient_class", lambda: Refusing)
    return options


def opened(**changes: Any) -> None:
    with pytest.raises(BackendDownError, match="cannot connect to db:5432/docs"):
        Server.from_params({**PARAMS, **changes}).open("pgvector_info")


def test_what_libpq_is_told(asked: dict[str, Any]) -> None:
    opened(password="secret-1", ca_path="/ca.pem")
    assert asked["password"] == "secret-1"
    assert (asked["sslmode"], asked["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert asked["application_name"] == "onprem.autoscale pgvector_info"
    assert asked["autocommit"] is True
    assert "passfile" not in asked


def test_a_passfile_wins_over_the_environment(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of somebody else")
    path = tmp_path / "pgpass"
    path.write_text("*:*:*:*:x\n")
    path.chmod(0o600)
    opened(passfile=str(path))
    assert asked["passfile"] == str(path)
    assert "PGPASSWORD" not in os.environ


def test_trusted_roots(asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    opened()
    assert asked.pop("sslrootcert") == "system"
    opened(sslmode="require")
    assert "sslrootcert" not in asked
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    opened()
    assert "sslrootcert" not in asked


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"port": 0}, "port: value is 0; allowed: 1 to 65535"),
        ({"statement_timeout": 0}, "statement_timeout"),
        ({"passfile": "/nowhere/pgpass"}, "cannot be read"),
        ({"passfile": "/"}, "only its owner may read"),
    ],
)
def test_refused_options(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        Server.from_params({**PARAMS, **changes})


def test_the_password_is_not_in_the_text_of_a_server() -> None:
    assert "secret-1" not in repr(Server.from_params({**PARAMS, "password": "secret-1"}))


@pytest.mark.parametrize(
    ("blocks", "tuples", "expected"),
    [((5, 10), (0, 0), 50.0), ((0, 0), (1, 3), 33.3), ((0, 0), (0, 0), None), ((12, 10), (0, 0), 100.0)],
)
def test_percent_of_a_phase(blocks: tuple[int, int], tuples: tuple[int, int], expected: float | None) -> None:
    row = dict(zip(("blocks_done", "blocks_total", "tuples_done", "tuples_total"), (*blocks, *tuples), strict=True))
    assert percent(row) == expected
