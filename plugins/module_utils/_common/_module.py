# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What every module shares: argument specs that can be merged, and the single place where an error becomes ``fail_json``.
"""

from __future__ import annotations

import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ._errors import AutoscaleError, InvalidSpecError
from ._waiter import Waiter


class ArgumentSpec:
    """An argument spec as a value: pieces are written once, merged, and handed to :class:`AnsibleModule`."""

    _RULES = ("mutually_exclusive", "required_together", "required_one_of", "required_if")

    def __init__(self, options: t.Mapping[str, t.Mapping[str, t.Any]], **rules: t.Any) -> None:
        unknown = set(rules) - {*self._RULES, "required_by"}
        if unknown:
            raise TypeError(f"unknown argument spec rules: {sorted(unknown)}")
        self.options = dict(options)
        self.rules = {name: list(rules.get(name, ())) for name in self._RULES}
        self.required_by = dict(rules.get("required_by", {}))

    def merge(self, *others: ArgumentSpec) -> ArgumentSpec:
        """A new spec with the options and rules of all."""
        specs = (self, *others)
        options: dict[str, t.Any] = {}
        for spec in specs:
            options.update(spec.options)
        rules = {name: [rule for spec in specs for rule in spec.rules[name]] for name in self._RULES}
        required_by = {key: value for spec in specs for key, value in spec.required_by.items()}
        return ArgumentSpec(options, required_by=required_by, **rules)

    def create_module(self, **kwargs: t.Any) -> AnsibleModule:
        """An :class:`AnsibleModule` that supports check mode."""
        return AnsibleModule(
            argument_spec=self.options,
            required_by=self.required_by,
            supports_check_mode=True,
            **{name: tuple(rules) for name, rules in self.rules.items()},
            **kwargs,
        )


def option(variable: str, **rest: t.Any) -> dict[str, t.Any]:
    """An option that an environment variable stands in for; text, unless *rest* says otherwise."""
    return {"type": "str", "fallback": (env_fallback, [variable]), **rest}


#: ``wait``, ``wait_timeout``, ``wait_interval``: the same three everywhere (fragment ``onprem.autoscale._wait``).
def wait_spec(timeout: int = 300) -> ArgumentSpec:
    """Options of the fragment ``onprem.autoscale._wait`` with the module's own default timeout in seconds."""
    return ArgumentSpec(
        {
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": timeout},
            "wait_interval": {"type": "float", "default": 1.0},
        }
    )


def waiter_maker(params: t.Mapping[str, t.Any]) -> t.Callable[[], Waiter] | None:
    """What makes waiters from the options of :func:`wait_spec`, each with its own deadline; None without ``wait``."""
    return (lambda: Waiter(params["wait_timeout"], params["wait_interval"])) if params["wait"] else None


def run(module: AnsibleModule, work: t.Callable[[AnsibleModule], t.Mapping[str, t.Any]]) -> None:
    """Run *work* and leave through ``exit_json`` or ``fail_json``; the one ``except`` of a module.

    The result of an :class:`AutoscaleError` is kept, so that a reader sees what is half done.
    """
    try:
        result = dict(work(module))
    except AutoscaleError as error:
        module.fail_json(msg=str(error), exception=traceback.format_exc(), **error.result)
    else:
        module.exit_json(**result)


def check_limits(
    options: t.Mapping[str, t.Any], limits: t.Mapping[str, tuple[float, float]], *, where: str = ""
) -> None:
    """Numbers that are given lie within *limits*: key -> (lowest, highest).

    :param where: what stands before the key in the message, such as ``gates[0].``.
    :raises InvalidSpecError: names the option, the value and what is allowed.
    """
    for key, (low, high) in limits.items():
        if options[key] is not None and not low <= options[key] <= high:
            raise InvalidSpecError(f"{where}{key}: value is {options[key]}; allowed: {low} to {high}")


def require_library(module: AnsibleModule, name: str, found: bool, exception: str | None = None) -> None:
    """Fail with Ansible's own wording when a Python library is missing on the machine that runs the module."""
    if not found:
        module.fail_json(msg=missing_required_lib(name), exception=exception)
