# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse variables that look like options of a role and are none; documented in plugins/modules/role_options.py."""

from __future__ import annotations

import difflib
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Looks at the names of variables only; nothing is sent to a host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """The result for the task: ``options`` is what the role knows."""
        result = super().run(tmp, task_vars)
        self.validate_argument_spec({})
        role = self._task._role
        if role is None:
            raise AnsibleActionFail("role_options belongs into a role's tasks: elsewhere there are no options to know")
        name = role.get_name(include_role_fqcn=False)
        known = self._options(name, role._role_path)
        prefix = f"{name}_"
        unknown = sorted(key for key in task_vars or {} if key.startswith(prefix) and key not in known)
        if unknown:
            raise AnsibleActionFail(
                f"The role {name} has no such option: {'; '.join(_hint(key, known) for key in unknown)}. Correct or"
                " remove it; README.md of the role lists all options."
            )
        result.update(changed=False, options=sorted(known))
        return result

    def _options(self, name: str, path: str) -> set[str]:
        """Names of all entry points' options."""
        for ending in ("yml", "yaml"):
            file = os.path.join(path, "meta", f"argument_specs.{ending}")
            if os.path.exists(file):
                specs = (self._loader.load_from_file(file) or {}).get("argument_specs", {})
                return {option for spec in specs.values() for option in spec.get("options") or {}}
        raise AnsibleActionFail(
            f"{path} has no meta/argument_specs.yml, so the options of the role {name} are not known"
        )


def _hint(key: str, known: t.Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.8)
    return f"{key} (did you mean {near[0]}?)" if near else key
