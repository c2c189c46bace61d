#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies artifacts, models above all, from one Harbor to another."""

from __future__ import annotations

DOCUMENTATION = r"""
module: harbor_replication
short_description: Copy artifacts, models above all, from one Harbor to another
version_added: 0.3.0
description:
  - Declares the other Harbor (a registry), what is copied to or from it (a replication policy), and runs the policy.
  - A run that copied nothing is a failure, for it is no backup; so is one of which a task failed. The failed tasks are
    named with the end of their logs.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_harbor
  - onprem.autoscale._harbor
  - onprem.autoscale._wait
attributes:
  check_mode:
    support: full
    details: Nothing is copied. A registry is not asked whether it answers.
  diff_mode:
    support: full
    details: A secret is shown as written or not at all.
  idempotent:
    support: partial
    details: With O(state=executed) each call copies again, unless it finds a run under way, which it joins.
options:
  registry:
    description:
      - The other Harbor. With O(registry.name) alone, one that is there. Its options are those of a connection, so that
        what an inventory says of a site can be given as it is.
      - What is not given stays as it is.
    type: dict
    suboptions:
      name:
        description: Name of the registry in this Harbor.
        type: str
        required: true
      type:
        description: What kind of registry it is, in Harbor's words.
        type: str
        default: harbor
      description:
        description: A text for people.
        type: str
      url:
        description: Its address as this Harbor reaches it. Needed where the registry has to be made.
        type: str
      username:
        description: An account there, which may push, or pull; a robot account is enough.
        type: str
      password:
        description: The secret of O(registry.username). Harbor gives it to nobody, so it cannot be compared.
        type: str
      update_password:
        description:
          - When the secret is written, V(on_create) or each time. With V(always) every call reports a change.
          - A change of anything else writes it, too.
        type: str
        choices: [on_create, always]
        default: on_create
      validate_certs:
        description: Whether this Harbor checks the other one's certificate.
        type: bool
      ca_path:
        description:
          - A file of CA certificates, read where the module runs, that Harbor is given for the other one. Harbor before
            2.13 does not know it; there the CA belongs into Harbor's own trust store.
        type: path
  policy:
    description:
      - What is copied. With O(policy.name) alone, one that is there.
      - What is not given stays as it is; of a new policy it is Harbor's default, but enabled, and overriding.
    type: dict
    suboptions:
      name:
        description: Name of the policy.
        type: str
        required: true
      description:
        description: A text for people.
        type: str
      mode:
        description: Whether this Harbor pushes to O(registry), as a new policy does, or pulls from it.
        type: str
        choices: [push, pull]
      filters:
        description: What is copied; everything where there is none.
        type: list
        elements: dict
        suboptions:
          type:
            description: What is looked at.
            type: str
            choices: [name, tag, label, resource]
            required: true
          value:
            description:
              - A pattern, in which C(**) crosses slashes and C(*) does not, such as V(models/**). Of labels a list.
            type: raw
            required: true
          decoration:
            description: Whether what matches is copied, as by default, or left out. Only a tag or a label leaves out.
            type: str
            choices: [matches, excludes]
      trigger:
        description: When Harbor itself runs it. A new policy is V(manual).
        type: dict
        suboptions:
          type:
            description: By hand, when an artifact comes, or by a schedule.
            type: str
            choices: [manual, event_based, scheduled]
            required: true
          cron:
            description: Six fields, seconds first, in UTC. Needed with V(scheduled).
            type: str
      dest_namespace:
        description: The project, or the path, on the other side. By default that of the source.
        type: str
      dest_namespace_replace_count:
        description: How many leading parts of a name O(policy.dest_namespace) replaces; V(-1) is all but the last.
        type: int
      override:
        description: Whether a tag on the other side is moved when it means something else there.
        type: bool
      enabled:
        description: Whether the policy may run.
        type: bool
      replicate_deletion:
        description: Whether what is deleted here is deleted there. A backup is better without it.
        type: bool
      speed:
        description: Limit of each task in KB/s; V(0) is none.
        type: int
      copy_by_chunk:
        description: Whether blobs are copied in pieces.
        type: bool
      single_active_replication:
        description: Whether Harbor skips a run while another of the policy is under way.
        type: bool
  state:
    description:
      - V(present) makes what is given. V(executed) does so and runs the policy, or joins its run that is under way.
      - V(absent) deletes the policy with the history of its runs, and the registry.
    type: str
    choices: [present, absent, executed]
    default: present
  allow_empty:
    description: Whether a run that copied nothing, as nothing matched, is all right.
    type: bool
    default: false
  wait:
    description: Whether to wait for the end of the run with O(state=executed). Without it the run is not judged.
  wait_timeout:
    description:
      - How long to wait for the end of the run, in seconds. When it passes the module fails; the run goes on in Harbor,
        and the next call joins it.
    default: 3600
seealso:
  - module: onprem.autoscale.harbor_replication_info
  - module: onprem.autoscale.oci_artifact
"""

EXAMPLES = r"""
- name: The models of this site go to the other one, now
  onprem.autoscale.harbor_replication:
    url: https://harbor-a.example.org
    username: admin
    password: "{{ harbor_a_password }}"
    registry:
      name: site-b
      url: https://harbor-b.example.org
      username: robot$replication
      password: "{{ harbor_b_robot }}"
    policy:
      name: models-to-b
      filters:
        - {type: name, value: models/**}
        - {type: tag, value: "*-rc*", decoration: excludes}
    state: executed
  register: copied

- name: Each night, without waiting for it
  onprem.autoscale.harbor_replication:
    url: https://harbor-a.example.org
    username: admin
    password: "{{ harbor_a_password }}"
    policy:
      name: models-to-b
      trigger: {type: scheduled, cron: 0 0 1 * * *}
"""

RETURN = r"""
registry:
  description: The other Harbor as it stands here, C(status) as of Harbor's last look; none where it is not given.
  returned: success
  type: dict
  sample: {id: 3, name: site-b, type: harbor, url: "https://harbor-b.example.org", access_key: robot$replication,
           description: "", insecure: false, ca_certificate: "", status: healthy}
policy:
  description: The policy as it stands; none where it is not, or not given.
  returned: success
  type: dict
  sample: {id: 4, name: models-to-b, mode: push, registry: site-b, registry_id: 3, enabled: true, override: true,
           filters: [{type: name, value: models/**, decoration: matches}], trigger: {type: manual}}
execution:
  description: The run with O(state=executed); none in check mode. Also after a failure.
  returned: success or failure
  type: dict
  sample: {id: 9, status: Succeed, total: 2, succeed: 2, failed: 0, stopped: 0, in_progress: 0, trigger: manual,
           start_time: "2026-05-01T01:00:00.000Z", end_time: "2026-05-01T01:04:00.000Z", status_text: ""}
joined:
  description: Whether that run was under way already.
  returned: success
  type: bool
  sample: false
last_success:
  description:
    - The last run that copied something and failed nowhere, this one included. What the copy lacks is younger than its
      C(start_time).
  returned: success
  type: dict
  sample: {id: 9, status: Succeed, total: 2, start_time: "2026-05-01T01:00:00.000Z"}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _harbor
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
    waiter_maker,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._harbor import _policy, _registry, _run

SPEC = _harbor.CONNECTION_SPEC.merge(
    wait_spec(3600),
    ArgumentSpec(
        {
            "registry": {"type": "dict", "options": _harbor.REGISTRY_OPTIONS},
            "policy": {"type": "dict", "options": _harbor.POLICY_OPTIONS},
            "state": {"type": "str", "choices": ["present", "absent", "executed"], "default": "present"},
            "allow_empty": {"type": "bool", "default": False},
        },
        required_one_of=[("registry", "policy")],
        required_if=[("state", "executed", ["policy"])],
    ),
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring Harbor to what is wanted."""
    with _harbor.connect(module.params) as api:
        return (_absent if module.params["state"] == "absent" else _present)(module, api)


def _absent(module: AnsibleModule, api: t.Any) -> dict[str, t.Any]:
    params, check = module.params, module.check_mode
    before: dict[str, t.Any] = {}
    if params["policy"]:
        before["policy"] = _harbor.Policies(api).absent(params["policy"]["name"], check_mode=check)
    if params["registry"]:
        before["registry"] = _harbor.Registries(api).absent(params["registry"]["name"], check_mode=check)
    gone = {"registry": None, "policy": None, "execution": None, "joined": False, "last_success": None}
    changed = any(before.values())
    return {"changed": changed, **gone, "diff": {"before": before, "after": dict.fromkeys(before)}}


def _present(module: AnsibleModule, api: t.Any) -> dict[str, t.Any]:
    params, check = module.params, module.check_mode
    before, after = {}, {}
    registry = policy = None
    if params["registry"]:
        found = _harbor.Registries(api).present(params["registry"], check_mode=check)
        registry, before["registry"], after["registry"] = found
    if params["policy"]:
        found = _harbor.Policies(api).present(params["policy"], registry, check_mode=check)
        policy, before["policy"], after["policy"] = found
    result = {
        "changed": before != after,
        "registry": _registry.shown(registry),
        "policy": _policy.shown(policy),
        "execution": None,
        "joined": False,
        "last_success": None,
        "diff": {"before": before, "after": after},
    }
    if policy and policy["id"]:  # it has no id where check mode only says that it would be made
        runs = _harbor.Runs(api, policy)
        if params["state"] == "executed" and not check:
            try:
                _execute(params, runs, result)
            except AutoscaleError as error:
                error.result = {**result, **error.result}
                raise
        result["last_success"] = _harbor.last_success(runs)
    if params["state"] == "executed" and check:
        result["changed"] = True
    return result


def _execute(params: dict[str, t.Any], runs: t.Any, result: dict[str, t.Any]) -> None:
    """Run it, and wait for its end."""
    found, result["joined"] = runs.start()
    result["changed"] = result["changed"] or not result["joined"]
    waiter = waiter_maker(params)
    if waiter:
        found = runs.wait(found, waiter())
    result["execution"] = _run.shown(found)
    if waiter:
        runs.judge(found, allow_empty=params["allow_empty"])


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
