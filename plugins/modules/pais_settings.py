#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of VMware Private AI Services as files for Git, and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pais_settings
short_description: Write the settings of VMware Private AI Services to files, and bring them back
version_added: 0.3.0
description:
  - Writes agents, data sources, MCP servers, knowledge bases and their indexes to a YAML file each, without what
    belongs to one site only, ids, times and states, and without secrets. What has not changed gives the same bytes.
  - Makes another site have what the files say. Objects are found by name, and references between them become the ids
    of that site. What can be refused is refused before the first change.
  - Documents and what is indexed of them are data and no settings. They live in PostgreSQL.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_pais
  - onprem.autoscale._pais
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows objects as files. Secrets are in none of them.
  idempotent:
    support: full
    details: With O(update_secrets=always) each call writes what has secrets.
options:
  state:
    description: Whether the site is written to files, or the files to the site.
    type: str
    choices: [exported, imported]
    required: true
  folder:
    description:
      - The folder of the files, C(<kind>/<name>.yml), of indexes C(indexes/<knowledge base>/<name>.yml). It is made
        with O(state=exported).
    type: path
    required: true
  kinds:
    description: What is looked at.
    type: list
    elements: str
    choices: [data-sources, mcp-servers, knowledge-bases, indexes, agents]
    default: [data-sources, mcp-servers, knowledge-bases, indexes, agents]
  prune:
    description:
      - Whether what the other side lacks is taken away, files with V(exported), objects with V(imported). A knowledge
        base goes with all that it holds. A folder without any object is refused.
    type: bool
    default: false
  secrets:
    description:
      - Names of secrets and their values, for V(imported), such as C(data-sources/drive/credentials/password). The
        names are what RV(secrets) and the files say.
      - Only what is made, or of which another part of the same field changes, needs its secrets.
    type: dict
    default: {}
  update_secrets:
    description: When secrets that cannot be compared are written, V(on_create) or each time.
    type: str
    choices: [on_create, always]
    default: on_create
  update_methods:
    description:
      - The HTTP method of updates by kind, where a release wants another than C(PATCH) for data sources and MCP
        servers, C(POST) for the rest.
    type: dict
    default: {}
  ignore_fields:
    description: Further fields that the server adds to objects, and that belong to one site only.
    type: list
    elements: str
    default: []
notes:
  - A file that leaves a field out leaves that of the site as it is; an empty field empties it.
  - An answer that was lost is looked for before it is an error.
  - Model endpoints and routes are objects of Kubernetes and not read here. Keep their manifests in Git, or read them
    with M(kubernetes.core.k8s_info).
seealso:
  - module: onprem.autoscale.harbor_replication
"""

EXAMPLES = r"""
- name: The settings of this site as files
  onprem.autoscale.pais_settings:
    url: https://pais-a.example.org
    issuer: https://login.example.org/realms/ai
    client_id: autoscale
    client_secret: "{{ pais_a_secret }}"
    state: exported
    folder: settings/shop/pais
    prune: true

- name: The other site gets them
  onprem.autoscale.pais_settings:
    url: https://pais-b.example.org
    issuer: https://login.example.org/realms/ai
    client_id: autoscale
    client_secret: "{{ pais_b_secret }}"
    state: imported
    folder: settings/shop/pais
    secrets:
      data-sources/drive/credentials/password: "{{ drive_password }}"
"""

RETURN = r"""
objects:
  description: One row an object.
  returned: success or failure
  type: list
  elements: dict
  contains:
    kind:
      description: What it is.
      type: str
      sample: indexes
    knowledge_base:
      description: Of an index, else empty.
      type: str
      sample: docs
    name:
      description: Its name.
      type: str
      sample: main
    file:
      description: Its file below O(folder).
      type: str
      sample: indexes/docs/main.yml
    action:
      description:
        - C(written), C(removed) or C(unchanged) of a file; C(created), C(updated), C(deleted) or C(unchanged) of an
          object.
      type: str
      sample: created
secrets:
  description: Names of the secrets that the objects have.
  returned: success
  type: list
  elements: str
  sample: [data-sources/drive/credentials/password]
done:
  description: What was changed before it failed.
  returned: failure
  type: list
  elements: str
  sample: [knowledge-bases/docs]
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _pais
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http, _yaml
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)

SPEC = _pais.CONNECTION_SPEC.merge(
    ArgumentSpec(
        {
            "state": {"type": "str", "choices": ["exported", "imported"], "required": True},
            "folder": {"type": "path", "required": True},
            "kinds": {
                "type": "list",
                "elements": "str",
                "choices": list(_pais.ORDER),
                "default": list(_pais.ORDER),
            },
            "prune": {"type": "bool", "default": False},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "update_secrets": {
                "type": "str",
                "choices": ["on_create", "always"],
                "default": "on_create",
                "no_log": False,
            },
            "update_methods": {"type": "dict", "default": {}},
            "ignore_fields": {"type": "list", "elements": "str", "default": []},
        }
    )
)
METHODS = ("PATCH", "POST", "PUT")


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Write one side from the other."""
    params = module.params
    for kind, method in params["update_methods"].items():
        if kind not in _pais.ORDER or method not in METHODS:
            raise InvalidSpecError(
                f"update_methods: value is {kind}: {method}; "
                f"allowed: one of {', '.join(_pais.ORDER)} and one of {', '.join(METHODS)}"
            )
    folder = Path(params["folder"])
    common = {"prune": params["prune"], "check_mode": module.check_mode}
    with _pais.connect(params) as api:
        site = _pais.Site(api, params["kinds"], ignored=params["ignore_fields"], methods=params["update_methods"])
        if params["state"] == "exported":
            return _pais.export(site, folder, params["kinds"], **common)
        always = params["update_secrets"] == "always"
        return _pais.restore(site, folder, params["kinds"], secrets=params["secrets"], update_secrets=always, **common)


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "PyYAML", _yaml.HAS_YAML, _yaml.YAML_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
