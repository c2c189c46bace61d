# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module health_gate: in this process, and once as Ansible runs it."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import types
import typing as t

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError, WaitTimeoutError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_spec
from ansible_collections.onprem.autoscale.plugins.modules import health_gate

ROOT = pathlib.Path(__file__).resolve().parents[4]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: t.Any) -> None:
        """Silent."""


@pytest.fixture
def port() -> t.Iterator[int]:
    """A healthy member listens here on 127.0.0.2; nobody does on 127.0.0.3."""
    with http.server.ThreadingHTTPServer(("127.0.0.2", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


GOOD = {"name": "web-1", "address": "127.0.0.2"}
BAD = {"name": "web-2", "address": "127.0.0.3"}


def call(check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """What ``work`` returns for options that passed the argument spec."""
    checked = ArgumentSpecValidator(health_gate.SPEC.options).validate({"timeout": 0, "wait_interval": 0.01, **options})
    assert not checked.error_messages, checked.error_messages
    params = checked.validated_parameters
    return health_gate.work(types.SimpleNamespace(params=params, check_mode=check_mode))


def test_all_pass(port: int) -> None:
    """Invariant 5; nothing changes, and nothing does the second time."""
    gates = [{"type": "http", "port": port}, {"type": "tcp", "port": port}]
    result = call(members=[GOOD], gates=gates)
    assert (result["changed"], result["failed_members"]) == (False, [])
    (row,) = result["members"]
    assert {key: row[key] for key in ("name", "address", "passed", "failed", "changed", "msg")} == {
        **GOOD, "passed": True, "failed": False, "changed": False, "msg": "passed 2 gates"
    }  # fmt: skip
    assert [gate["msg"] for gate in row["gates"]] == ["status 200", "connected"]


def test_one_that_does_not_pass_fails_the_call_and_all_rows_come_back(port: int) -> None:
    with pytest.raises(
        WaitTimeoutError, match=r"1 of 2 members .*web-2 \(127\.0\.0\.3\).*connection refused"
    ) as caught:
        call(members=[GOOD, BAD], gates=[{"type": "http", "port": port}])
    assert caught.value.result["failed_members"] == ["web-2"]
    assert [row["passed"] for row in caught.value.result["members"]] == [True, False]


def test_allow_partial_keeps_the_good_ones(port: int) -> None:
    """The members that serve go on; a play drops the others by their rows."""
    result = call(members=[GOOD, BAD], gates=[{"type": "http", "port": port}], allow_partial=True)
    assert result["failed_members"] == ["web-2"]
    assert [row["failed"] for row in result["members"]] == [False, True]
    with pytest.raises(WaitTimeoutError, match="1 of 1 members"):
        call(members=[BAD], gates=[{"type": "http", "port": port}], allow_partial=True)
    assert call(members=[], gates=[{"type": "http", "port": port}])["members"] == []


def test_check_mode_asks_nobody(port: int) -> None:
    result = call(check_mode=True, members=[BAD], gates=[{"type": "http", "port": port}])
    (row,) = result["members"]
    assert (result["changed"], result["failed_members"], row["failed"], row["passed"]) == (False, [], False, False)
    assert row["gates"][0]["attempts"] == 0
    assert row["msg"] == "check mode: 1 gates were not asked"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gates": []}, "gates: value is []; allowed: at least one gate"),
        ({"members": [{"name": "a", "address": ""}]}, "members[0].address: value is empty for a"),
        ({"gates": [{"type": "tcp", "port": 70000}]}, "gates[0].port: value is 70000; allowed: 1 to 65535"),
        ({"gates": [{"type": "tcp", "port": 1, "timeout": 0}]}, "gates[0].timeout: value is 0; allowed: 1 to 300"),
        ({"gates": [{"type": "http", "port": 1, "regex": "("}]}, "gates[0].regex: value is '('"),
    ],
)
def test_bad_input(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        call(**{"members": [GOOD], "gates": [{"type": "tcp", "port": 1}], **options})
    assert message in str(caught.value)


def test_gates_of_a_group_fit_the_module() -> None:
    """A play hands ``spec.gates`` over as it is: the planner's full form passes the argument spec."""
    data = yaml.safe_load((ROOT / "inventories" / "lab" / "scaling_groups" / "web.yml").read_text(encoding="utf-8"))
    gates = parse_spec({**data, "gates": [*data["gates"], {"type": "http", "port": 1, "scheme": "https"}]}).as_dict()[
        "gates"
    ]
    assert call(check_mode=True, members=[GOOD], gates=gates)["failed_members"] == []


def test_options_are_those_of_the_documentation() -> None:
    documented = yaml.safe_load(health_gate.DOCUMENTATION)["options"]
    assert documented.keys() == health_gate.SPEC.options.keys()
    for name in ("members", "gates"):
        assert documented[name]["suboptions"].keys() == health_gate.SPEC.options[name]["options"].keys()


def test_as_ansible_runs_it(port: int, tmp_path: pathlib.Path) -> None:
    """The module with all that it imports survives being packed and sent."""
    arguments = {"members": [GOOD, BAD], "gates": [{"type": "http", "port": port}], "timeout": 1, "wait_interval": 0.1}
    (tmp_path / "ansible.cfg").touch()
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(pathlib.Path(health_gate.__file__).parents[5]),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path),
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(
        [
            str(pathlib.Path(sys.executable).with_name("ansible")), "localhost", "-m", "onprem.autoscale.health_gate",
            "-a", json.dumps(arguments), "-e", f"ansible_python_interpreter={sys.executable}",
        ],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    _head, mark, text = done.stdout.partition("FAILED! => ")
    assert mark, done.stdout
    answer, _end = json.JSONDecoder().raw_decode(text)
    assert answer["failed_members"] == ["web-2"]
    assert [row["passed"] for row in answer["members"]] == [True, False]
    assert answer["msg"].startswith("1 of 2 members did not pass their gates: web-2 (127.0.0.3)")
