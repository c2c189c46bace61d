# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs that merge, and the one place where an error becomes ``fail_json``."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError, WaitTimeoutError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
)


class Left(Exception):
    """A module ends its process; this one ends the test's call."""


class FakeModule:
    def __init__(self) -> None:
        self.ended: tuple[str, dict[str, Any]] | None = None

    def exit_json(self, **result: Any) -> None:
        self.ended = ("exit", result)

    def fail_json(self, **result: Any) -> None:
        self.ended = ("fail", result)
        raise Left


def test_specs_merge_options_and_rules_and_leave_their_parts_alone() -> None:
    one = ArgumentSpec({"a": {"type": "str"}}, required_together=[("a", "b")], required_by={"a": ["b"]})
    two = ArgumentSpec({"b": {"type": "int"}}, required_together=[("b", "c")], required_if=[("b", 1, ["c"])])
    both = one.merge(two, wait_spec(7))
    assert set(both.options) == {"a", "b", "wait", "wait_timeout", "wait_interval"}
    assert both.options["wait_timeout"]["default"] == 7
    assert both.rules["required_together"] == [("a", "b"), ("b", "c")]
    assert both.rules["required_if"] == [("b", 1, ["c"])]
    assert both.required_by == {"a": ["b"]}
    assert set(one.options) == {"a"}
    assert one.rules["required_together"] == [("a", "b")]


def test_an_unknown_rule_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="required_iff"):
        ArgumentSpec({}, required_iff=[])


def test_a_result_leaves_through_exit_json() -> None:
    module = FakeModule()
    run(module, lambda _module: {"changed": True})
    assert module.ended == ("exit", {"changed": True})


def test_an_error_keeps_its_cause_its_remedy_and_what_is_half_done() -> None:
    module = FakeModule()

    def work(_module: object) -> dict[str, Any]:
        raise WaitTimeoutError(
            "VM web-1 has no address after 300 s", remedy="Look at DHCP.", result={"moid": "vm-7", "changed": True}
        )

    with pytest.raises(Left):
        run(module, work)
    kind, result = module.ended
    assert kind == "fail"
    assert result["msg"] == "VM web-1 has no address after 300 s. Look at DHCP."
    assert (result["moid"], result["changed"]) == ("vm-7", True)
    assert "WaitTimeoutError" in result["exception"]


def test_a_defect_of_ours_is_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError):
        run(FakeModule(), lambda _module: {"x": 1 / 0})


def test_an_error_without_remedy_is_its_message() -> None:
    assert str(AutoscaleError("No such pool.")) == "No such pool."
    assert str(AutoscaleError("No such pool.", remedy="Make it.")) == "No such pool. Make it."


def test_a_missing_library_is_named() -> None:
    module = FakeModule()
    require_library(module, "requests", True)
    assert module.ended is None
    with pytest.raises(Left):
        require_library(module, "requests", False, "Traceback")
    assert "requests" in module.ended[1]["msg"]
