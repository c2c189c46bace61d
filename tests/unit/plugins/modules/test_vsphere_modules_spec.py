# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the group vsphere: their options as documented, as checked, and without the library."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from unit.kit.module_docs import check_documentation, check_examples, load

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere import _client, _work

NAMES = ("vsphere_clone", "vsphere_clone_info", "vsphere_mark", "vsphere_template")
CONNECTION = {"hostname": "vc", "username": "u", "password": "4711-0815"}
ONE = {"vms": [{"name": "web-1"}], "template": "t", "marks": {"group": "web"}}


def checked(module: str, /, **options: t.Any) -> tuple[dict[str, t.Any], list[str]]:
    """(parameters with defaults, errors) of the argument spec alone."""
    result = ArgumentSpecValidator(load(module).SPEC.options).validate({**CONNECTION, **options})
    return result.validated_parameters, result.error_messages


def wanted(**options: t.Any) -> tuple[t.Any, t.Any]:
    params, errors = checked("vsphere_clone", **{**ONE, **options})
    assert not errors
    return _work.wanted_vms(params)


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_what_the_spec_says(name: str) -> None:
    check_documentation(name)
    assert load(name).SPEC.options["password"]["no_log"] is True


@pytest.mark.parametrize("name", NAMES)
def test_examples_pass_the_spec(name: str) -> None:
    check_examples(name)


@pytest.mark.parametrize("name", NAMES)
def test_return_values_are_documented(name: str) -> None:
    for key, value in yaml.safe_load(load(name).RETURN).items():
        assert value["returned"], key
        for field, text in value.get("contains", {}).items():
            assert text["description"], field
            assert text["type"], field


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("vsphere_clone", {**ONE, "state": "gone"}, "state must be one of"),
        ("vsphere_clone", {**ONE, "customization": "x"}, "customization must be one of"),
        ("vsphere_clone", {**ONE, "vms": [{"address": "10.0.0.1"}]}, "name"),
        ("vsphere_clone", {**ONE, "timeouts": {"clone": "long"}}, "clone"),
        ("vsphere_clone", {**ONE, "timeouts": {"clon": 5}}, "clon"),
        ("vsphere_clone_info", {"marks": ["web"]}, "marks"),
        ("vsphere_mark", {"vms": [{"name": "web-1"}]}, "marks"),
        ("vsphere_template", {}, "name"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, t.Any], text: str) -> None:
    _params, errors = checked(name, **options)
    assert text in " ".join(errors)


def test_defaults() -> None:
    params, errors = checked("vsphere_clone", **ONE)
    assert not errors
    assert params["timeouts"] == {"clone": 600, "customization": 600, "address": 300, "shutdown": 60, "destroy": 300}
    assert (params["max_in_flight"], params["wait"], params["validate_certs"]) == (8, True, True)
    assert checked("vsphere_template", name="t", source="s")[0]["wait_timeout"] == 600


def test_present_needs_a_template() -> None:
    """required_if stands in the rules of the spec, which AnsibleModule checks."""
    assert ("state", "present", ["template"]) in load("vsphere_clone").SPEC.rules["required_if"]
    assert ("state", "present", ["source"]) in load("vsphere_template").SPEC.rules["required_if"]


def test_marks_are_merged_and_become_text() -> None:
    """A row's own marks win; numbers from YAML are compared as vCenter stores them."""
    (vm,), _guest = wanted(
        marks={"group": "web", "slot": 1}, vms=[{"name": "web-1", "marks": {"slot": 2, "empty": ""}}]
    )
    assert vm.marks == {"group": "web", "slot": "2"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"marks": {}}, "has no marks"),
        ({"max_in_flight": 0}, "max_in_flight 0"),
        ({"cpus": 0}, "cpus 0"),
        ({"timeouts": {"clone": -1}}, "timeouts.clone -1"),
        ({"user_data": "x"}, "user_data needs customization: cloudinit"),
        ({"vms": [{"name": "a"}, {"name": "a"}]}, "vms.name a is given more than once"),
        (
            {"network": {"cidr": "10.0.0.0/24"}, "vms": [{"name": n, "address": "10.0.0.1"} for n in "ab"]},
            "vms.address 10.0.0.1 is given more than once",
        ),
    ],
)
def test_values_are_checked_before_anybody_is_asked(options: dict[str, t.Any], text: str) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(text)):
        wanted(**options)


def test_absent_needs_no_network() -> None:
    """The caller hands over the rows it got; only names and marks count."""
    (vm,), _guest = wanted(state="absent", vms=[{"name": "web-1", "address": "10.9.9.9"}])
    assert vm.address == "10.9.9.9"


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_library_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guarded import: fail_json with Ansible's wording, not a traceback."""
    options = {**CONNECTION, **(ONE if name == "vsphere_clone" else {"name": "t", "source": "s"})}
    if name == "vsphere_clone_info":
        options = dict(CONNECTION)
    if name == "vsphere_mark":
        options = {**CONNECTION, "vms": [{"name": "web-1"}], "marks": {"group": "web"}}
    monkeypatch.setattr(_client, "HAS_PYVMOMI", False)
    monkeypatch.setattr(AnsibleModule, "_load_params", lambda self: setattr(self, "params", dict(options)))
    monkeypatch.setattr("ansible.module_utils.basic._PARSED_MODULE_ARGS", {}, raising=False)
    monkeypatch.setattr("ansible.module_utils.basic._ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit) as ended:
        load(name).main()
    answer = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert ended.value.code == 1
    assert "Failed to import the required Python library (pyVmomi)" in answer["msg"]
