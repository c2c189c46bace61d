# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the action plugins of the ledger share: arguments in, one open ledger, an error as a result.

They are action plugins as the ledger lives where the playbook runs. Ansible loads the class in its main process, so
SQLAlchemy is imported once a run and not once a task.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import traceback
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import option
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError

LEDGER_VARIABLE = "ONPREM_AUTOSCALE_LEDGER"

Args = dict[str, t.Any]


def plain(value: t.Any) -> t.Any:
    """*value* in plain Python types: Ansible hands out subclasses of them that carry tags."""
    return json.loads(json.dumps(value, default=str))


def default_owner() -> str:
    """Who runs this play: host and process of ``ansible-playbook`` (tasks run in its children).

    Where the kernel tells, with the time that it started: a later process with the same number is another owner.
    """
    process = str(os.getppid())
    with contextlib.suppress(OSError, IndexError):
        process += "@" + Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return f"{platform.node()}/{process}"


class ControllerAction(ActionBase):
    """An action that works where the playbook runs: a subclass names its options and answers."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {}
    RULES: t.ClassVar[dict[str, t.Any]] = {}

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Check the options, work; an error that a person has to read becomes a failed result."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec=self.options(), **self.RULES)
        try:
            # Column names that SQLAlchemy hands out as keys are not plain strings either.
            return plain({"changed": False, **self.answer(plain(args))})
        except AutoscaleError as error:
            return {
                "changed": False,
                "failed": True,
                "msg": str(error),
                "exception": traceback.format_exc(),
                **plain(error.result),
            }

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._task.check_mode)

    @property
    def wants_diff(self) -> bool:
        """Whether a diff was asked for."""
        return bool(self._task.diff)

    def options(self) -> dict[str, t.Any]:
        """All options."""
        return self.OPTIONS

    def answer(self, args: Args) -> dict[str, t.Any]:
        """The result of the task. :raises AutoscaleError: fails the task."""
        raise NotImplementedError


class LedgerAction(ControllerAction):
    """An action on one ledger, which is open while it works."""

    def options(self) -> dict[str, t.Any]:
        """Where the ledger is comes first."""
        return {"ledger": option(LEDGER_VARIABLE), **self.OPTIONS}

    def answer(self, args: Args) -> dict[str, t.Any]:
        """Open the ledger and work."""
        if not args["ledger"]:
            raise LedgerError(
                "no ledger was named", remedy=f"Set the option ledger or the environment variable {LEDGER_VARIABLE}"
            )
        with Ledger.open(args["ledger"], look_only=self.looks_only(args)) as ledger:
            return self.work(ledger, args)

    def looks_only(self, args: Args) -> bool:
        """Whether the ledger is only read: always in check mode."""
        return self.check_mode

    def work(self, ledger: Ledger, args: Args) -> dict[str, t.Any]:
        """The result of the task. :raises AutoscaleError: fails the task."""
        raise NotImplementedError
