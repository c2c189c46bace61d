# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address of a DSM cluster, without a PostgreSQL behind it: what it reads and what it refuses (C3)."""

from __future__ import annotations

import asyncio
import struct

import psycopg
import pytest

from lab.dsm.endpoint import Endpoint, parse_startup, refusal
from lab.kit import free_port


def _packet(code: int, body: bytes = b"") -> bytes:
    return struct.pack("!II", len(body) + 8, code) + body


def test_a_startup_packet_is_read_and_replication_is_told_from_a_session():
    read = parse_startup(_packet(3 << 16, b"user\0app\0database\0docs\0application_name\0\0\0"))
    assert read.parameters == {"user": "app", "database": "docs", "application_name": ""}
    assert not read.replication
    for word in ("true", "on", "1", "database"):
        assert parse_startup(_packet(3 << 16, f"user\0r\0replication\0{word}\0\0".encode())).replication
    assert not parse_startup(_packet(3 << 16, b"user\0r\0replication\0false\0\0")).replication
    assert parse_startup(_packet(80877103)).parameters == {}


@pytest.mark.parametrize(
    "packet",
    [b"", b"\0\0\0\x08", b"GET / HTTP/1.1\r\n", _packet(2 << 16), _packet(3 << 16, b"user\0app"), _packet(3 << 16)[:7]],
)
def test_what_is_no_startup_packet_is_refused(packet):
    with pytest.raises(ValueError, match=r"protocol|end"):
        parse_startup(packet)


def test_a_refusal_has_the_fields_a_client_looks_for():
    said = refusal("no", "57P03")
    assert said[:1] == b"E"
    assert struct.unpack("!I", said[1:5])[0] == len(said) - 1
    assert b"SFATAL\0" in said
    assert b"C57P03\0" in said
    assert said.endswith(b"Mno\0\0")


def test_a_client_is_told_at_once_when_no_primary_runs_or_when_it_is_blocked():
    with Endpoint.threaded(free_port()) as endpoint:
        address = {"host": "127.0.0.1", "port": endpoint.port, "user": "app", "sslmode": "disable"}
        with pytest.raises(psycopg.OperationalError, match="no primary of this cluster is running"):
            psycopg.connect(**address)
        endpoint.blocked = True
        with pytest.raises(psycopg.OperationalError, match="blocked by its administrator"):
            psycopg.connect(**address)


def test_plaintext_is_refused_where_tls_is_required():
    with (
        Endpoint.threaded(free_port(), require_tls=True) as endpoint,
        pytest.raises(psycopg.OperationalError, match="no encryption"),
    ):
        psycopg.connect(host="127.0.0.1", port=endpoint.port, user="app", sslmode="disable")


async def test_a_blocked_endpoint_cuts_sessions_and_spares_replication():
    async def upstream(reader, writer):
        while data := await reader.read(100):
            writer.write(data)

    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    endpoint = await Endpoint(server.sockets[0].getsockname()[1]).start()
    clients = {}
    for kind in ("false", "true"):
        clients[kind] = await asyncio.open_connection("127.0.0.1", endpoint.port)
        packet = _packet(3 << 16, f"user\0r\0replication\0{kind}\0\0".encode())
        clients[kind][1].write(packet)
        assert await clients[kind][0].readexactly(len(packet)) == packet
    await endpoint.block(True)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await clients["false"][0].readexactly(1)
    clients["true"][1].write(b"still there")
    assert await clients["true"][0].readexactly(11) == b"still there"
    await endpoint.switch(None)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await clients["true"][0].readexactly(1)
    await endpoint.stop()
    server.close()
