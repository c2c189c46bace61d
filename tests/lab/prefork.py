# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts many plays and modules cheaply: Ansible and the libraries of the modules are imported once, each program is a
fork.

Half of a module's CPU time is imports; hundreds of plays feel that. ``python prefork.py serve-modules SOCKET`` (or
serve-plays) waits for programs; ``python prefork.py play SOCKET ARGUMENTS...`` is ansible-playbook; ``python prefork.py
module SOCKET`` is the Python interpreter of modules, with its program on stdin, or with ``-m NAME``. What runs is the
same code as ever: of Ansible and of the collection nothing is imported before a module runs. A program dies with who
asked for it, and takes that one for its parent.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import sys

LIBRARIES = (
    "argparse", "ast", "base64", "concurrent.futures", "dataclasses", "difflib", "email.parser", "fcntl", "http.client",
    "importlib.metadata", "ipaddress", "json", "locale", "logging", "platform", "pwd", "random", "runpy", "select",
    "selectors", "shlex", "shutil", "socket", "ssl", "subprocess", "syslog", "tempfile", "typing", "urllib.request",
    "uuid", "xml.parsers.expat", "zipfile", "zipimport", "yaml", "requests", "urllib3.util.retry", "pyVim.connect",
    "pyVmomi", "psycopg", "kubernetes.client", "kubernetes.config", "sqlalchemy",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite",
)  # fmt: skip
PLAY_LIBRARIES = ("jinja2", "sqlalchemy", "cryptography", "ansible.cli.playbook", "ansible.executor.playbook_executor")


def serve(path: str, libraries: tuple[str, ...]) -> None:
    """Fork for each connection; ends with its own parent."""
    for name in libraries:
        __import__(name)
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        listener.settimeout(1.0)
        while os.getppid() == parent:
            try:
                connection, _peer = listener.accept()
            except TimeoutError:
                _reap()
                continue
            _reap()
            if os.fork() == 0:
                listener.close()
                _supervise(connection)
            connection.close()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _supervise(connection: socket.socket) -> None:
    """Run one program as a child and send back how it ended; it ends with who asked. Never returns."""
    connection.settimeout(None)
    message, ancillary, _flags, _address = connection.recvmsg(1 << 20, socket.CMSG_SPACE(12))
    files = array.array("i")
    for _level, _type, data in ancillary:
        files.frombytes(data)
    wanted = json.loads(message)
    child = os.fork()
    if child == 0:
        connection.close()
        _become(wanted, files.tolist())
    for number in files:
        os.close(number)
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % child)
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, connection], [], [])[0]:  # it never writes, so that it is gone
        os.kill(child, signal.SIGKILL)
    _pid, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(wanted: dict[str, object], files: list[int]) -> None:
    """Turn this process into the program that is wanted; never returns."""
    status = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        os.chdir(wanted["folder"])
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        os.getppid = lambda: wanted["asked_by"]
        status = _run(wanted["arguments"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = status or 1
        os._exit(status)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["-m"]:
        import runpy

        sys.argv = [arguments[1]]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    if arguments:  # ansible-playbook
        from ansible.cli.playbook import PlaybookCLI

        os.setsid()
        sys.argv = ["ansible-playbook", *arguments]
        PlaybookCLI.cli_executor(sys.argv)
        return 0
    import types

    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.argv = ["-"]
    sys.path.insert(0, "")
    exec(compile(sys.stdin.read(), "<stdin>", "exec"), main.__dict__)  # noqa: S102
    return 0


def ask(path: str, arguments: list[str]) -> int:
    """Have a program run with this process's files, folder and environment; its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        wanted = {
            "arguments": arguments,
            "asked_by": os.getpid(),
            "folder": os.getcwd(),
            "environment": dict(os.environ),
        }
        files = array.array("i", [0, 1, 2])
        connection.sendmsg([json.dumps(wanted).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
        text = b""
        while text.count(b"\n") < 2:
            more = connection.recv(64)
            if not more:
                return 1
            text += more
    return int(text.split(b"\n")[1])


def main() -> int:
    """See the module's text."""
    what, path, *arguments = sys.argv[1:]
    if what == "serve-plays":
        serve(path, PLAY_LIBRARIES)
    elif what == "serve-modules":
        serve(path, LIBRARIES)
    elif what in ("module", "play"):
        return ask(path, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
