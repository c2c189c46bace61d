# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's own playbooks as a Python generator that stops before each task.

What the state machine kills, freezes and interleaves are therefore the tasks, conditions and expressions of the YAML
files themselves, not a model of them that could drift. Modules are calls to the fake site; the rest is here: includes,
blocks with rescue, ``when``, ``register``, ``set_fact``, lazy variables, Jinja expressions. What a task uses beyond
that is an error.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import typing as t
from pathlib import Path

import jinja2
import jinja2.nodes
import yaml

ROOT = Path(__file__).resolve().parents[3]
TASKS = ROOT / "playbooks" / "tasks"

_QUIET = ("ansible.builtin.set_fact", "ansible.builtin.debug", "ansible.builtin.fail")
_IGNORED = ("delegate_to", "ignore_unreachable")
_KEYWORDS = frozenset(
    ("name", "when", "vars", "register", "ignore_errors", "failed_when", "block", "rescue", "loop", *_IGNORED)
)

Row = dict[str, t.Any]
#: A module: its full name and arguments in; yields at points inside where it can be cut off; returns its result.
Call = t.Callable[[str, Row], t.Generator[str, None, Row]]


class TaskFailed(Exception):
    """A task ended as failed; ``result`` is what Ansible would register."""

    def __init__(self, task: str, result: Row) -> None:
        super().__init__(f"{task}: {result.get('msg', 'no message')}")
        self.task = task
        self.result = result


class PlaybookBug(AssertionError):
    """The YAML says what cannot be carried out, whatever the world does: an undefined variable, for example."""


class _Omit:
    """``omit``: the option is as if it had not been written."""

    def __repr__(self) -> str:
        return "omit"


OMIT = _Omit()


class _Undefined(jinja2.StrictUndefined):
    """As Ansible's: an attribute of what is undefined is undefined too; only its use is an error."""

    def __getattr__(self, name: str) -> t.Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _key: t.Any) -> t.Any:
        return self


class _Lazy:
    """A variable that is templated when it is used, with the variables that hold where it was written."""

    def __init__(self, raw: t.Any, scope: t.Mapping[str, t.Any]) -> None:
        self.raw = raw
        self.scope = scope


class _Context(jinja2.runtime.Context):
    def resolve_or_missing(self, key: str) -> t.Any:
        value = super().resolve_or_missing(key)
        return template(value.raw, value.scope) if isinstance(value, _Lazy) else value


def _difference(value: t.Iterable[t.Any], other: t.Iterable[t.Any]) -> list[t.Any]:
    gone = list(other)
    return [item for item in dict.fromkeys(value) if item not in gone]


def _regex_replace(value: str, pattern: str, replacement: str) -> str:
    return re.sub(pattern, replacement, value)


def _listed(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    @functools.wraps(function)  # also copies what tells Jinja to hand in its context
    def listed(*args: t.Any, **kwargs: t.Any) -> list[t.Any]:
        return list(function(*args, **kwargs))

    return listed


def _environment() -> jinja2.Environment:
    env = jinja2.Environment(undefined=_Undefined, keep_trailing_newline=True)  # noqa: S701 no HTML is made here
    env.context_class = _Context
    for name in ("map", "select", "selectattr", "reject", "rejectattr"):  # Ansible makes lists of them at once
        env.filters[name] = _listed(env.filters[name])
    env.filters.update(
        difference=_difference,
        regex_replace=_regex_replace,
        unique=lambda value: list(dict.fromkeys(value)),
        union=lambda value, other: list(dict.fromkeys([*value, *other])),
        intersect=lambda value, other: [item for item in dict.fromkeys(value) if item in list(other)],
        bool=lambda value: str(value).lower() in ("true", "yes", "1", "on"),
        combine=lambda value, *others: functools.reduce(lambda a, b: {**a, **b}, others, value),
        to_json=json.dumps,
        dict2items=lambda value: [{"key": key, "value": item} for key, item in value.items()],
        items2dict=lambda value: {row["key"]: row["value"] for row in value},
        flatten=lambda value: [item for part in value for item in (part if isinstance(part, list) else [part])],
    )
    env.tests.update(
        failed=lambda result: bool(result.get("failed")),
        skipped=lambda result: bool(result.get("skipped")),
        success=lambda result: not result.get("failed"),
        succeeded=lambda result: not result.get("failed"),
        match=lambda value, pattern: bool(re.match(pattern, value)),
    )
    for path in sorted((ROOT / "plugins" / "filter").glob("*.py")):
        module = importlib.import_module(f"ansible_collections.onprem.autoscale.plugins.filter.{path.stem}")
        for name, function in module.FilterModule().filters().items():
            env.filters[f"onprem.autoscale.{name}"] = function
    return env


@functools.cache
def _env() -> jinja2.Environment:
    return _environment()


@functools.cache
def _compiled(source: str) -> t.Callable[[t.Mapping[str, t.Any]], t.Any]:
    """A whole ``{{ expression }}`` gives its native value, anything else text."""
    env = _env()
    body = env.parse(source.strip()).body
    if len(body) == 1 and isinstance(body[0], jinja2.nodes.Output) and len(body[0].nodes) == 1:
        return _expression(source.strip()[2:-2].strip("-"))
    whole = env.from_string(source)
    return whole.render


@functools.cache
def _expression(source: str) -> t.Callable[[t.Mapping[str, t.Any]], t.Any]:
    return _env().compile_expression(source, undefined_to_none=False)


def template(value: t.Any, scope: t.Mapping[str, t.Any]) -> t.Any:
    """*value* with its expressions evaluated; what is omitted is left out.

    :raises PlaybookBug: something is undefined.
    """
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        try:
            return _native(_compiled(value)(scope), value)
        except jinja2.UndefinedError as error:
            raise PlaybookBug(f"{value}: {error}") from error
    if isinstance(value, dict):
        filled = {key: template(item, scope) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not OMIT}
    if isinstance(value, list):
        return [item for item in (template(item, scope) for item in value) if item is not OMIT]
    return value


def _native(value: t.Any, source: str) -> t.Any:
    if isinstance(value, jinja2.Undefined):
        raise PlaybookBug(f"{source}: is undefined")
    if isinstance(value, t.Iterator):
        return list(value)
    return value


def _true(condition: t.Any, scope: t.Mapping[str, t.Any]) -> bool:
    if isinstance(condition, bool):
        return condition
    try:
        return bool(_expression(str(condition))(scope))
    except jinja2.UndefinedError as error:
        raise PlaybookBug(f"when {condition}: {error}") from error


def _list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


@functools.cache
def _file(path: Path) -> list[Row]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


class PlaybookRun:
    """One ``ansible-playbook`` of one group.

    :param kind: ``scale_out``, ``scale_in`` or ``reconcile``.
    :param spec: the group's declaration in its full form; it takes the place of ``load_group.yml``.
    :param extra: what ``-e`` would set.
    :ivar task: the name of the task that comes next, or works; ``next_module``: its module while it has not begun.
    :ivar facts: registered results and facts; ``finished`` holds the event once the action has ended.
    """

    def __init__(self, kind: str, spec: Row, call: Call, extra: t.Mapping[str, t.Any]) -> None:
        self.kind = kind
        self._call = call
        self.spec = spec
        self.facts: Row = {"spec": spec}
        self._extra = {"omit": OMIT, "group": spec["name"], "ansible_check_mode": False, **extra}
        self.task = ""
        self.next_module = ""

    def steps(self) -> t.Generator[str, None, None]:
        """Stops before each task that reaches out of the play, and where a module can be cut off inside.

        :raises TaskFailed: the play ends as failed.
        """
        if self.kind == "reconcile":
            play = _file(ROOT / "playbooks" / "reconcile.yml")[0]
            self.facts["reconciled"] = []
            tasks = _file(TASKS / "reconcile_group.yml")
        else:
            play = _file(ROOT / "playbooks" / f"{self.kind}.yml")[0]
            tasks = play["tasks"]
        scope: Row = {}
        for path in play.get("vars_files", ()):
            scope.update(_file(ROOT / "playbooks" / path))
        scope.update(play.get("vars", {}))
        yield from self._run(tasks, (scope,), ())

    # ---- variables

    def _scope(self, layers: tuple[Row, ...]) -> Row:
        """Registered results and facts win over variables of tasks and blocks, ``-e`` over all."""
        scope: Row = {}
        for layer in layers:
            scope.update({key: _Lazy(raw, scope) for key, raw in layer.items()})
        scope.update(self.facts)
        scope.update(self._extra)
        return scope

    # ---- tasks

    def _run(
        self, tasks: t.Iterable[Row], layers: tuple[Row, ...], when: tuple[t.Any, ...]
    ) -> t.Generator[str, None, None]:
        for task in tasks:
            inner = (*layers, task["vars"]) if "vars" in task else layers
            conditions = (*when, *_list(task.get("when")))
            if "block" in task:
                yield from self._block(task, inner, conditions)
            else:
                yield from self._task(task, inner, conditions)

    def _block(self, task: Row, layers: tuple[Row, ...], when: tuple[t.Any, ...]) -> t.Generator[str, None, None]:
        self._check(task, {"block"})
        try:
            yield from self._run(task["block"], layers, when)
        except TaskFailed as error:
            if "rescue" not in task:
                raise
            self.facts["ansible_failed_task"] = {"name": error.task}
            self.facts["ansible_failed_result"] = error.result
            yield from self._run(task["rescue"], layers, when)

    def _task(self, task: Row, layers: tuple[Row, ...], when: tuple[t.Any, ...]) -> t.Generator[str, None, None]:
        module = next(iter(task.keys() - _KEYWORDS), None)
        if module is None or len(task.keys() - _KEYWORDS) != 1 or "loop" in task:
            raise NotImplementedError(f"task {task.get('name')}: {sorted(task.keys() - _KEYWORDS)}")
        if module == "ansible.builtin.import_tasks":  # static: the condition is that of each task
            if not task[module].endswith("load_group.yml"):
                yield from self._run(self._included(task[module]), layers, when)
            return
        scope = self._scope(layers)
        if not all(_true(condition, scope) for condition in when):
            if "register" in task:
                self.facts[task["register"]] = {"changed": False, "skipped": True}
            return
        if module == "ansible.builtin.include_tasks":
            if not task[module].endswith("load_group.yml"):
                yield from self._run(self._included(task[module]), layers, ())
            return
        if module in _QUIET:
            self._quiet(module, task, scope)
            return
        yield from self._module(module, task, layers)

    @staticmethod
    def _included(name: str) -> list[Row]:
        return _file(TASKS / name.rpartition("/")[2])

    def _quiet(self, module: str, task: Row, scope: Row) -> None:
        """Tasks that reach nothing outside: no boundary of their own."""
        args = template(task[module], scope)
        if module.endswith("set_fact"):
            self.facts.update(args)
        elif module.endswith("fail"):
            raise TaskFailed(task["name"], {"failed": True, "changed": False, "msg": args["msg"]})

    def _module(self, module: str, task: Row, layers: tuple[Row, ...]) -> t.Generator[str, None, None]:
        self.task, self.next_module = task["name"], module.rpartition(".")[2]
        yield task["name"]
        self.next_module = ""
        scope = self._scope(layers)
        try:
            result = yield from self._call(module, template(task[module], scope))
            failed = False
        except TaskFailed as error:
            result, failed = error.result, True
        if failed and task.get("failed_when") is False:
            failed, result = False, {**result, "failed": False}
        if "register" in task:
            self.facts[task["register"]] = result
        if failed and not template(task.get("ignore_errors", False), scope):
            raise TaskFailed(task["name"], result)

    @staticmethod
    def _check(task: Row, allowed: t.Collection[str]) -> None:
        unknown = task.keys() - _KEYWORDS - set(allowed)
        if unknown:
            raise NotImplementedError(f"block {task.get('name')}: {sorted(unknown)}")
