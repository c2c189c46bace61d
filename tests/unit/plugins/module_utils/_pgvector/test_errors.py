# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL and libpq say becomes the right kind of error, with server, cause and remedy."""

from __future__ import annotations

import psycopg
import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _errors as kinds
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._errors import sqlstate, translate

SERVER = "db.example.com:5432/docs"
TO = 'connection failed: connection to server at "10.0.0.5", port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ('FATAL:  password authentication failed for user "app"', kinds.AuthenticationError, "pg_hba.conf"),
        ("fe_sendauth: no password supplied", kinds.AuthenticationError, "passfile"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9"', kinds.AuthenticationError, "pg_hba.conf"),
        ('FATAL:  role "app" does not exist', kinds.AuthenticationError, "username"),
        ("SSL error: certificate verify failed", kinds.AuthenticationError, "ca_path"),
        ('server certificate for "a" does not match host name "b"', kinds.AuthenticationError, "a name that"),
        ('root certificate file "/x.pem" does not exist', kinds.AuthenticationError, "ca_path"),
        ("server does not support SSL, but SSL was required", kinds.AuthenticationError, "ca_path"),
        ('FATAL:  database "docs" does not exist', kinds.NotFoundError, "Create the database"),
        ("FATAL:  sorry, too many clients already", kinds.BackendDownError, "max_connections"),
        ("FATAL:  the database system is starting up", kinds.BackendDownError, "in a moment"),
        ("FATAL:  the database system is not yet accepting connections", kinds.BackendDownError, "in a moment"),
        ("FATAL:  the database does not accept connections: they are blocked", kinds.BackendDownError, "block_conn"),
        ("Connection refused\n\tIs the server running on that host?", kinds.BackendDownError, "block_connections"),
        ("connection timeout expired", kinds.BackendDownError, "can be reached"),
        ("could not translate host name", kinds.BackendDownError, "can be reached"),
    ],
)
def test_what_comes_while_connecting(text: str, kind: type[Exception], words: str) -> None:
    error = translate(psycopg.OperationalError(TO + text), SERVER)
    assert type(error) is kind
    assert str(error).startswith(f"cannot connect to {SERVER}: {text.splitlines()[0]}")
    assert words in error.remedy


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (psycopg.errors.DiskFull("full"), kinds.RefusedError, "tablespace"),
        (psycopg.errors.LockNotAvailable("locked"), kinds.ConflictError, "pg_stat_activity"),
        (psycopg.errors.QueryCanceled("slow"), kinds.WaitTimeoutError, "statement_timeout"),
        (psycopg.errors.ReadOnlySqlTransaction("standby"), kinds.RefusedError, "primary"),
        (psycopg.errors.InsufficientPrivilege("no"), kinds.RefusedError, "right"),
        (psycopg.errors.SerializationFailure("again"), kinds.ConflictError, "Run again"),
        (psycopg.errors.OutOfMemory("memory"), kinds.BackendDownError, "maintenance_work_mem"),
        (psycopg.errors.AdminShutdown("down"), kinds.BackendDownError, "PostgreSQL runs"),
        (psycopg.errors.DependentObjectsStillExist("used"), kinds.ConflictError, "cascade"),
        (psycopg.errors.InvalidSchemaName("schema"), kinds.NotFoundError, "schema"),
        (psycopg.errors.SyntaxError("syntax"), kinds.InvalidSpecError, "types and defaults"),
        (psycopg.errors.FeatureNotSupported("never"), kinds.RefusedError, "concurrently false"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), kinds.BackendDownError, "runs"),
    ],
)
def test_what_comes_of_a_statement(error: psycopg.Error, kind: type[Exception], words: str) -> None:
    translated = translate(error, SERVER, "build index x")
    assert type(translated) is kind
    assert translated.message.startswith(f"cannot build index x on {SERVER}: ")
    assert words in translated.remedy


def test_a_line_for_each_address_that_was_tried() -> None:
    text = "\n".join(
        ["connection failed: x", "Multiple connection attempts failed. All failures were:",
         f"- host: 'a', port: 1, hostaddr: '::1': {TO}Connection refused", f"- host: 'a': {TO}timeout expired"]
    )  # fmt: skip
    assert "Connection refused; timeout expired" in str(translate(psycopg.OperationalError(text), SERVER))


def test_an_unknown_text_has_no_state() -> None:
    assert sqlstate(psycopg.OperationalError("something new")) == ""
    assert sqlstate(psycopg.errors.DiskFull("x")) == "53100"
