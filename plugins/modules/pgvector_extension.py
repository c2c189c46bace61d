#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs, updates or removes the extension vector in a database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgvector_extension
short_description: Install pgvector in a database
version_added: 0.3.0
description:
  - Installs, updates, moves or removes the extension C(vector) in one database.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_pgvector
  - onprem.autoscale._pgvector
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) - it is installed, in whatever version unless O(version) names one.
      - V(latest) - it has the version that the server would install.
      - V(absent) - it is not installed. Refused while a column or an index needs it, unless O(cascade).
    type: str
    choices: [present, absent, latest]
    default: present
  version:
    description:
      - The version, for O(state=present). An extension is updated, and does not go back.
    type: str
  schema:
    description:
      - The schema of its types and operators. If not set, the first one of the search path, or where it is.
    type: str
  cascade:
    description:
      - Whether O(state=absent) also drops all columns of vectors, with what is in them.
    type: bool
    default: false
seealso:
  - module: onprem.autoscale.pgvector_table
"""

EXAMPLES = r"""
- name: The extension is there
  onprem.autoscale.pgvector_extension:
    host: docs-db.example.com
    database: docs
    username: pgadmin
    passfile: /home/ansible/.autoscale/docs.pgpass
    ca_path: /etc/ssl/certs/dsm-ca.pem

- name: And is the newest one that the server has
  onprem.autoscale.pgvector_extension:
    host: docs-db.example.com
    database: docs
    username: pgadmin
    passfile: /home/ansible/.autoscale/docs.pgpass
    state: latest
"""

RETURN = r"""
version:
  description: The version that is installed; none when it is not.
  returned: success
  type: str
  sample: 0.8.0
available:
  description: The version that the server would install; none when it has no such extension.
  returned: success
  type: str
  sample: 0.8.0
schema:
  description: The schema of its types and operators; none when it is not installed.
  returned: success
  type: str
  sample: public
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector import _driver, _extension
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._catalog import read_extension
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._connection import Server, connection_spec

SPEC = connection_spec().merge(
    ArgumentSpec(
        {
            "state": {"type": "str", "choices": ["present", "absent", "latest"], "default": "present"},
            "version": {"type": "str"},
            "schema": {"type": "str"},
            "cascade": {"type": "bool", "default": False},
        }
    )
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, do, tell."""
    params = module.params
    if params["version"] and params["state"] != "present":
        raise InvalidSpecError(f"version: value is {params['version']}; allowed: none with state {params['state']}")
    wish = {key: params[key] for key in ("state", "version", "schema")}
    with Server.from_params(params).open("pgvector_extension", module.warn) as session:
        found = read_extension(session)
        commands = _extension.plan(session, found, **wish, cascade=params["cascade"])
        after = found
        if commands and module.check_mode:
            after = _extension.predicted(found, **wish)
        elif commands:
            after = _extension.apply(session, commands)
    return {
        "changed": bool(commands),
        **after.as_dict(),
        "diff": {"before": _shown(found), "after": _shown(after)},
    }


def _shown(extension: t.Any) -> str:
    return f"vector {extension.version} in schema {extension.schema}\n" if extension.version else ""


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "psycopg", _driver.HAS_PSYCOPG, _driver.PSYCOPG_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
