# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of a configuration: loaded and verified, or put back, whatever fails in between (A2, invariant 7)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _config_change as cc
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AutoscaleError,
    BackendDownError,
    NotFoundError,
    RefusedError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter


class Crash(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class FakeServer:
    """A server that reads its files on reload, and refuses any that says ``bad``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = self.read()
        self.reloads = 0
        self.crash_at: int | None = None
        self.step = 0
        self.down = False

    def read(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*.yml"))}

    def tick(self) -> None:
        """One point between two instructions; dies here when told to."""
        self.step += 1
        if self.step == self.crash_at:
            raise Crash

    def reload(self) -> None:
        self.reloads += 1
        if self.down:
            raise BackendDownError("nobody answers")
        files = self.read()
        if any(b"bad" in content for content in files.values()):
            raise RefusedError("line 1: bad")
        self.running = files

    def converge(self, wanted: dict[str, bytes | None], waiter: Callable[[], Waiter] | None = None) -> bool:
        files = []
        for name, content in wanted.items():
            entry = cc.ManagedFile(self.folder / name)
            entry.after = content
            files.append(entry)
        expected = {name: content for name, content in wanted.items() if content is not None}
        return cc.converge(
            files,
            reload=self.reload,
            loaded=lambda: {name: text for name, text in self.running.items() if name in wanted} == expected,
            what="The change",
            waiter=waiter or (lambda: Waiter(0.0)),
        )


@pytest.fixture
def server(tmp_path: Path) -> FakeServer:
    (tmp_path / "main.yml").write_bytes(b"good")
    return FakeServer(tmp_path)


def leftovers(server: FakeServer) -> list[str]:
    return [path.name for path in server.folder.iterdir() if not path.name.endswith(".yml")]


def test_changes_once(server: FakeServer) -> None:
    wanted = {"main.yml": b"better", "part.yml": b"new"}
    assert server.converge(wanted) is True
    assert server.running == wanted
    assert server.converge(wanted) is False
    assert server.reloads == 1
    assert server.converge({"main.yml": b"good", "part.yml": None}) is True
    assert server.running == {"main.yml": b"good"}
    assert leftovers(server) == []


def test_refused_is_put_back_and_loaded_again(server: FakeServer) -> None:
    with pytest.raises(RefusedError, match=r"line 1: bad.*as they were before and are loaded again"):
        server.converge({"main.yml": b"bad", "part.yml": b"new"})
    assert server.read() == {"main.yml": b"good"}
    assert server.reloads == 2
    assert leftovers(server) == []


def test_not_in_use_after_the_reload_is_put_back(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server reads another file than the one that was changed."""
    monkeypatch.setattr(server, "read", lambda: {"main.yml": b"other"})
    with pytest.raises(WaitTimeoutError, match="does not work with them"):
        server.converge({"main.yml": b"better"})
    assert (server.folder / "main.yml").read_bytes() == b"good"


def test_unknown_state_keeps_the_journal(server: FakeServer) -> None:
    """When not even the old files can be loaded, the next run must load, though no file differs."""
    server.down = True
    with pytest.raises(BackendDownError, match="loading them again failed too"):
        server.converge({"main.yml": b"better"})
    assert server.read() == {"main.yml": b"good"}
    assert leftovers(server) == [".main.yml.last-good"]
    server.down = False
    before = server.reloads
    assert server.converge({"main.yml": b"good"}) is True
    assert server.reloads == before + 1
    assert leftovers(server) == []


def test_loaded_though_nothing_is_to_be_written(server: FakeServer) -> None:
    """Somebody wrote the file and never loaded it."""
    (server.folder / "main.yml").write_bytes(b"better")
    assert server.converge({"main.yml": b"better"}) is True
    assert server.running == {"main.yml": b"better"}


@pytest.mark.parametrize(
    "wanted", [{"main.yml": b"better", "part.yml": b"new"}, {"main.yml": b"bad", "part.yml": b"x"}]
)
def test_a_crash_between_any_two_steps(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, bytes | None]
) -> None:
    """Invariant 7: die at each step in turn; the next run ends in the state of an undisturbed one."""
    put, remember, forget, reload = cc.ManagedFile.put, cc.ManagedFile.remember, cc.ManagedFile.forget, server.reload

    def step(call: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*args: object) -> None:
            server.tick()
            call(*args)
            server.tick()

        return wrapped

    monkeypatch.setattr(cc.ManagedFile, "put", step(put))
    monkeypatch.setattr(cc.ManagedFile, "remember", step(remember))
    monkeypatch.setattr(cc.ManagedFile, "forget", step(forget))
    monkeypatch.setattr(server, "reload", step(reload))
    crashes = 0
    for point in range(1, 40):
        for path in server.folder.iterdir():
            path.unlink()
        (server.folder / "main.yml").write_bytes(b"good")
        server.running = server.read()
        server.step, server.crash_at = 0, point
        try:
            server.converge(wanted)
        except Crash:
            crashes += 1
        except AutoscaleError:
            pass
        server.crash_at = None
        if wanted["main.yml"] == b"bad":
            with pytest.raises(RefusedError):
                server.converge(wanted)
            assert server.read() == {"main.yml": b"good"} == server.running
        else:
            server.converge(wanted)
            assert server.read() == wanted == server.running
        assert leftovers(server) == []
        assert server.converge({"main.yml": server.running["main.yml"]}) is False
    assert crashes >= 14, "the points were really reached"


def test_a_crash_then_another_group(server: FakeServer) -> None:
    """What was never verified does not become the base of the next change."""
    entry = cc.ManagedFile(server.folder / "main.yml")
    entry.after = b"half done"
    entry.remember()
    entry.put(entry.after)
    again = cc.ManagedFile(server.folder / "main.yml")
    assert (again.before, again.disk, again.pending) == (b"good", b"half done", True)
    assert again.text() == "good"


def test_a_crash_then_a_person(server: FakeServer) -> None:
    """Whoever edits the file by hand after a crash has the last word."""
    entry = cc.ManagedFile(server.folder / "main.yml")
    entry.after = b"half done"
    entry.remember()
    (server.folder / "main.yml").write_bytes(b"by hand")
    again = cc.ManagedFile(server.folder / "main.yml")
    assert (again.before, again.pending) == (b"by hand", True)


def test_a_damaged_journal_counts_for_nothing(server: FakeServer) -> None:
    (server.folder / ".main.yml.last-good").write_text("{")
    entry = cc.ManagedFile(server.folder / "main.yml")
    assert (entry.before, entry.pending) == (b"good", True)


def test_check_tells_the_words_of_the_tool(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text('#!/bin/sh\necho "$1: bad line" >&2\nexit 3\n')
    tool.chmod(0o755)
    with pytest.raises(RefusedError, match=r"tool refuses the file.*/etc/p\.yml: bad line"):
        cc.check(str(tool), ["/etc/.p.yml.x1.tmp"], shown={"/etc/.p.yml.x1.tmp": "/etc/p.yml"})
    with pytest.raises(NotFoundError, match="never installed"):
        cc.check("tool-of-nobody", [], shown={}, package="Prometheus")


def test_candidate_leaves_nothing(tmp_path: Path) -> None:
    with cc.candidate(tmp_path / "p.yml", b"x") as copy:
        assert copy.parent == tmp_path
        assert not copy.name.endswith(".yml"), "no pattern of the server may take it for a file"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "password: hunter2",
        "  - password: 'hunter2'",
        "smtp_auth_password: hunter2",
        "credentials: hunter2",
        "bearer_token: hunter2",
        "client_secret: hunter2",
        "service_key: hunter2",
        "url: https://u:hunter2@host/x",
    ],
)
def test_secrets_are_masked(line: str) -> None:
    """A15."""
    assert "hunter2" not in cc.redact(f"a: b\n{line}\nc: d\n")


def test_what_is_no_secret_stays() -> None:
    text = "credentials_file: /etc/token\ntargets: [a:1]\nurl: https://host/x\nfor: 5m\n"
    assert cc.redact(text) == text
