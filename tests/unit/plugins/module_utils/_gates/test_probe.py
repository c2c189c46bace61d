# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers on an address (A8), on real sockets and with a real subprocess for ping."""

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._gates import _probe as probe_module
from ansible_collections.onprem.autoscale.plugins.module_utils._gates import answers, probe_many


@pytest.fixture
def fake_ping(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], pathlib.Path]:
    """``fake_ping("exit 0")``: a ping command that writes its arguments to the returned file and runs the script."""

    def make(script: str) -> pathlib.Path:
        command, log = tmp_path / "ping", tmp_path / "arguments"
        command.write_text(f'#!/bin/sh\nprintf "%s " "$@" > {log}\n{script}\n', encoding="utf-8")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return log

    return make


def test_an_open_port_answers(make_server: t.Any, closed_port: int) -> None:
    port = make_server().port
    assert answers("127.0.0.1", ["tcp_open"], [closed_port, port], 1) == (
        f"127.0.0.1 accepts connections on TCP port {port}"
    )
    assert answers("127.0.0.1", ["tcp_refused"], [port], 1), "an open port shows a host, too"


def test_a_refused_port_answers_only_when_that_is_asked(closed_port: int) -> None:
    assert answers("127.0.0.1", ["tcp_open"], [closed_port], 1) is None
    assert answers("127.0.0.1", ["tcp_open", "tcp_refused"], [closed_port], 1) == (
        f"127.0.0.1 refuses connections on TCP port {closed_port}, so a host is there"
    )


def test_silence_is_no_answer_and_costs_one_timeout(silent_port: int) -> None:
    """All ports at once: the time is that of one."""
    began = time.monotonic()
    assert answers("127.0.0.1", ["tcp_open", "tcp_refused"], [silent_port] * 40, 0.3) is None
    assert 0.2 < time.monotonic() - began < 10, "one after the other takes 12 s"


def test_an_answer_does_not_wait_for_the_others(make_server: t.Any, silent_port: int) -> None:
    began = time.monotonic()
    assert answers("127.0.0.1", ["tcp_open"], [silent_port, make_server().port], 30)
    assert time.monotonic() - began < 15


def test_nobody_is_asked_without_methods(closed_port: int) -> None:
    assert answers("127.0.0.1", [], [closed_port], 1) is None


def test_ping_that_answers(fake_ping: t.Any) -> None:
    log = fake_ping("exit 0")
    assert answers("10.255.48.220", ["ping"], [], 0.5) == "10.255.48.220 answers ping"
    assert log.read_text(encoding="utf-8").split() == ["-n", "-q", "-c", "1", "-W", "1", "10.255.48.220"]


def test_ping_that_does_not_answer(fake_ping: t.Any) -> None:
    fake_ping("exit 1")
    assert answers("10.255.48.220", ["ping"], [], 1) is None


def test_ping_that_cannot_ask_is_an_error_and_not_silence(fake_ping: t.Any) -> None:
    """A8: an address is not called free because this machine may not ask."""
    fake_ping("echo 'socktype: SOCK_RAW: Operation not permitted' >&2; exit 2")
    with pytest.raises(AutoscaleError, match=r"Operation not permitted.*network\.probe\.methods"):
        answers("10.255.48.220", ["ping"], [], 1)


def test_no_ping_command_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AutoscaleError, match="no ping command"):
        answers("10.255.48.220", ["ping"], [], 1)


def test_a_port_that_answers_ends_the_ping(fake_ping: t.Any, make_server: t.Any) -> None:
    """No process is left behind."""
    fake_ping("exec sleep 30")
    began = time.monotonic()
    assert answers("127.0.0.1", ["ping", "tcp_open"], [make_server().port], 1)
    assert time.monotonic() - began < 15


def test_no_route_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AutoscaleError, match=r"cannot be asked on TCP port 80: network is unreachable"):
        probe_module._judge("10.255.48.220", 80, 101, True)
    assert probe_module._judge("10.255.48.220", 80, 113, True) is None, "no reply to ARP is silence"


def test_unknown_method() -> None:
    with pytest.raises(AutoscaleError, match="no probe method arp"):
        answers("127.0.0.1", ["arp"], [], 1)


def test_many_in_parallel(make_server: t.Any, silent_port: int) -> None:
    """Each address once, in order; the time is that of the slowest."""
    server = make_server("127.0.0.9", silent_port)
    addresses = ["127.0.0.1", "127.0.0.9", "127.0.0.1"]
    found = probe_many(addresses, ["tcp_open"], [silent_port], 0.3)
    assert list(found) == ["127.0.0.1", "127.0.0.9"]
    assert found["127.0.0.1"] is None
    assert found["127.0.0.9"] == f"127.0.0.9 accepts connections on TCP port {server.port}"
    assert probe_many([], ["tcp_open"], [80], 1) == {}


def test_no_descriptor_is_left_open(closed_port: int, silent_port: int, make_server: t.Any) -> None:
    ports = [closed_port, silent_port, make_server().port]
    answers("127.0.0.1", ["tcp_refused"], ports, 0.1)
    before = len(os.listdir("/proc/self/fd"))
    for _round in range(20):
        answers("127.0.0.1", ["tcp_refused"], ports, 0.05)
        answers("127.0.0.1", ["tcp_open"], [closed_port, silent_port], 0.01)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
