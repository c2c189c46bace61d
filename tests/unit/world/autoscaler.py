# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler on the fake site: the real ledger, action plugins and playbooks, and a clock that is ours.

A play can be killed before each task, inside the modules that change several things, and before each transaction of the
ledger.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import pathlib
import shutil
import sqlite3
import tempfile
import typing as t
from types import SimpleNamespace

import sqlalchemy as sa
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from unit.world.fake_site import Site
from unit.world.playbook_runner import PlaybookRun, TaskFailed
from unit.world.site_checks import Actor, AlertWatch
from unit.world.site_faults import BackendError, Row

from ansible_collections.onprem.autoscale.plugins.action import (
    scaling_action,
    scaling_group_info,
    scaling_plan,
    scaling_process,
    scaling_reconcile,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import tables
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import GroupSpec, parse_spec
from ansible_collections.onprem.autoscale.plugins.plugin_utils import _begin, _launch_count

TTL_S = 120.0
ENDS = ("succeeded", "refused", "failed")
PLUGINS: dict[str, t.Any] = {
    "scaling_action": scaling_action,
    "scaling_group_info": scaling_group_info,
    "scaling_plan": scaling_plan,
    "scaling_process": scaling_process,
    "scaling_reconcile": scaling_reconcile,
}


_PARSERS = tuple(module for module in (*PLUGINS.values(), _launch_count) if hasattr(module, "parse_spec"))


class Killed(BaseException):
    """kill -9: nothing of the play runs after it, no rescue either."""


@functools.cache
def _validator(name: str) -> ArgumentSpecValidator:
    plugin = PLUGINS[name].ActionModule
    options = {"ledger": {"type": "str"}, **plugin.OPTIONS}
    return ArgumentSpecValidator(options, **plugin.RULES)


_SEEN: set[tuple[str, frozenset[str]]] = set()


def _checked(name: str, task: str, args: Row) -> Row:
    """*args* as the plugin gets them. Ansible's own check is slow: it is asked once for each set of options."""
    key = (f"{name} {args.get('state')}", frozenset(args))
    if key in _SEEN:
        defaults = {key: option.get("default") for key, option in PLUGINS[name].ActionModule.OPTIONS.items()}
        aliases = {"action": "name"} if name in ("scaling_plan", "scaling_reconcile") else {}
        return json.loads(json.dumps({**defaults, **{aliases.get(key, key): value for key, value in args.items()}}))
    result = _validator(name).validate(args)
    if result.error_messages:
        raise AssertionError(f"{task}: {name}: {result.error_messages}")
    _SEEN.add(key)
    return json.loads(json.dumps(result.validated_parameters))


@functools.cache
def _empty_ledger() -> pathlib.Path:
    """A ledger to copy: making the tables takes longer than a play's journal."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="autoscale-world-", dir=_memory()))
    Ledger.open(f"sqlite:///{folder}/ledger.db").close()
    return folder / "ledger.db"


def _memory() -> str | None:
    """A folder in memory, where there is one."""
    return "/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None


class WorldLedger(Ledger):
    """The ledger as it is, with places to die: before each transaction that writes."""

    world: Autoscaler | None = None

    @contextlib.contextmanager
    def write(self) -> t.Iterator[sa.Connection]:
        if self.world is not None:
            self.world.before_write()
        # pylint: disable-next=contextmanager-generator-missing-cleanup
        with super().write() as connection:
            yield connection


@functools.cache
def _parsed(text: str) -> GroupSpec:
    return parse_spec(json.loads(text))


def _parse_once(data: Row, **_options: t.Any) -> GroupSpec:
    """``parse_spec`` takes longer than a journal entry, and a play asks it ten times."""
    return _parsed(json.dumps(data, sort_keys=True))


class Play:
    """One ``ansible-playbook`` process of the group.

    :ivar state: ``running``, ``frozen``, ``killed``, ``failed`` or ``ended``.
    :ivar die_in: transactions of the ledger after which the play is killed inside a journal entry.
    """

    def __init__(self, world: Autoscaler, kind: str, number: int, extra: t.Mapping[str, t.Any]) -> None:
        self.world = world
        self.number = number
        spec = world.site.spec
        self.actor = Actor(kind, f"host/{number}", spec["size"]["min"], spec["size"]["max"])
        self.state = "running"
        self.die_in: int | None = None
        self.epoch = world.epoch
        self.error = ""
        self.trail: list[str] = []
        variables = {
            "signal_source": "person",
            "autoscale_prometheus": {"url": "http://prometheus", "file_sd_dir": "/targets"},
            "prometheus_host": "localhost",
            "lock_ttl": int(TTL_S),
            **extra,
        }
        self.run = PlaybookRun(kind, spec, self._module, variables)
        self._steps = self.run.steps()

    def __repr__(self) -> str:
        return f"{self.actor.kind} {self.number} ({self.actor.ident or 'no lock'}, {self.state}, at {self.run.task!r})"

    @property
    def alive(self) -> bool:
        return self.state in ("running", "frozen")

    def advance(self, tasks: int = 1) -> bool:
        """Go on to the next places where it can be stopped; false once it does not run any more."""
        for _unused in range(tasks):
            if self.state != "running":
                break
            self.world.current = self
            self.world.site.checks.actor = self.actor
            try:
                self.trail.append(next(self._steps))
                self.world.write_down(f"{self.actor.kind} {self.number}: {self.trail[-1]}")
            except StopIteration:
                self.state = "ended"
            except TaskFailed as error:
                self.state, self.error = "failed", str(error)
            except Killed:
                self.state = "killed"
            finally:
                self.world.current = None
                self.world.site.checks.actor = None
            if self.state != "running":
                self.world.write_down(f"{self.actor.kind} {self.number}: {self.state} {self.error}")
        return self.state == "running"

    def finish(self) -> Play:
        """Run to the end."""
        while self.advance():
            pass
        return self

    def kill(self) -> None:
        """kill -9, now."""
        if self.alive:
            self.state = "killed"
            self._steps.close()

    @property
    def event(self) -> Row:
        """How the action ended; empty when it did not get there."""
        return (self.run.facts.get("finished") or {}).get("event") or {}

    def _module(self, name: str, args: Row) -> t.Generator[str, None, Row]:
        name = name.rpartition(".")[2]
        args = json.loads(json.dumps(args))
        if name in PLUGINS:
            return self.world.journal(self, name, args)
        try:
            result = yield from getattr(self.world.site, name)(**args)
        except BackendError as error:
            failed = {"failed": True, "changed": False, "msg": str(error), **error.result}
            raise TaskFailed(self.run.task, failed) from None
        # What a module answers is text: nothing of the site itself gets into a play.
        return json.loads(json.dumps(result))


class Autoscaler:
    """Ledger, plays and the clock between them.

    :ivar epoch: counts the ledgers that there were.
    """

    def __init__(self, spec: Row, now: float = 1_800_000_000.0, template: pathlib.Path | None = None) -> None:
        self.site = Site(spec, now)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="autoscale-world-", dir=_memory()))
        self._template = template or _empty_ledger()
        self.plays: list[Play] = []
        self.current: Play | None = None
        self.epoch = 0
        self.transactions = 0
        self.ledger_down = False
        self.node_dies_in: int | None = None
        self.alerts = AlertWatch(self.site)
        self.counts: dict[str, int] = {}
        self.log: list[str] = []  # for people who look at a failure
        self.ledger = self._open()
        self.site.clock.before = self._beat
        self.site.checks.holder = self.holder

    # ---- the ledger

    def _open(self) -> WorldLedger:
        path = self.folder / f"ledger-{self.epoch}.db"
        shutil.copyfile(self._template, path)
        ledger = WorldLedger.open(f"sqlite:///{path}", clock=self.site.clock)
        ledger.world = self
        self._raw = sqlite3.connect(path)
        return ledger

    def close(self) -> None:
        self.ledger.world = None
        self.ledger.close()
        self._raw.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def copy(self) -> Autoscaler:
        """The same world again, without its plays."""
        template = self.folder / "copy.db"
        if not template.exists():
            with contextlib.closing(sqlite3.connect(template)) as target:
                self._raw.backup(target)
        twin = Autoscaler(self.site.spec, self.site.clock(), template=template)
        for name in ("vms", "pool", "targets", "base_healthy", "answering", "serial"):
            setattr(twin.site, name, copy.deepcopy(getattr(self.site, name)))
        return twin

    def lose_ledger(self) -> None:
        """Somebody deletes the file."""
        self.ledger.world = None
        self.ledger.close()
        self._raw.close()
        self.epoch += 1
        self._template = _empty_ledger()
        self.ledger = self._open()
        self.site.checks.rebuilding = True
        self.site.checks.breaker.forget()

    def before_write(self) -> None:
        """Each transaction that writes comes by here: the ledger may be away, and the play may die."""
        self.transactions += 1
        if self.ledger_down:
            raise LedgerError("the ledger does not answer", remedy="wait")
        play = self.current
        if play is None and self.node_dies_in is not None:
            self.node_dies_in -= 1
            if self.node_dies_in < 0:
                self.node_dies_in = None
                raise Killed
        if play is not None and play.die_in is not None:
            play.die_in -= 1
            if play.die_in < 0:
                self.count("killed inside a journal entry")
                raise Killed

    def claimed(self, direction: str) -> None:
        """A dispatcher has taken a signal on."""
        self.site.checks.ask(11, *self.alerts.holds(direction))

    def holder(self) -> tuple[str, str] | None:
        """Action and owner that the lock is on; there is one group."""
        return self.look("SELECT action, owner FROM locks").fetchone()

    def look(self, query: str) -> sqlite3.Cursor:
        """A look at the ledger's file beside the ledger's own code: what the checks compare with."""
        return self._raw.execute(query)

    def _beat(self, seconds: float) -> None:
        """What the heartbeats of the plays do while *seconds* pass."""
        for play in self.plays:
            # A reconcile that has carried an action on has its end in hand, and works on its own action.
            ended = play.event.get("action") == play.actor.ident
            if play.state == "running" and play.actor.ident and play.epoch == self.epoch and not ended:
                now = self.site.clock() + seconds
                values = {"heartbeat_at": now, "expires_at": now + TTL_S}
                where = (tables.locks.c.action == play.actor.ident, tables.locks.c.owner == play.actor.owner)
                with Ledger.write(self.ledger) as connection:
                    connection.execute(sa.update(tables.locks).where(*where).values(**values))

    # ---- the plays

    def write_down(self, text: str) -> None:
        self.log.append(f"{self.site.clock():.0f} {text}")

    def count(self, what: str, by: int = 1) -> None:
        self.write_down(what)
        self.counts[what] = self.counts.get(what, 0) + by

    def start(self, kind: str, **extra: t.Any) -> Play:
        """A new process; it has not done anything yet."""
        play = Play(self, kind, len(self.plays) + 1, extra)
        self.plays.append(play)
        return play

    def alive(self) -> list[Play]:
        return [play for play in self.plays if play.alive]

    def journal(self, play: Play, name: str, args: Row) -> Row:
        """An action plugin, as ``LedgerAction.run`` calls it."""
        args = _checked(name, play.run.task, args)
        module = PLUGINS[name]
        plugin = module.ActionModule.__new__(module.ActionModule)
        plugin._task = SimpleNamespace(check_mode=False, diff=False)
        try:
            with self._patched(play):
                if play.epoch != self.epoch:
                    raise LedgerError("the ledger of this play is gone", remedy="run reconcile")
                answer = {"changed": False, **plugin.work(self.ledger, {**args, "ledger": "world"})}
        except AutoscaleError as error:
            answer = {"changed": False, "failed": True, "msg": str(error), **error.result}
        answer = json.loads(json.dumps(answer, default=str))
        if answer.get("failed"):
            raise TaskFailed(play.run.task, answer)
        self._noted(play, name, args, answer)
        return answer

    def _noted(self, play: Play, name: str, args: Row, answer: Row) -> None:
        """What the checks want to know of a journal entry that was written."""
        actor = play.actor
        actor.late = False
        if name == "scaling_action" and args["state"] == "started":
            actor.ident, actor.plan = answer["name"], None
            actor.shown.clear()
            actor.looked_at = None
            if answer["resumed"]:
                self.count(f"resumed {answer['direction']}")
        elif name == "scaling_plan":
            actor.plan = answer["plan"]
            self.count(f"plan {answer['plan']['code']}")
        elif name == "scaling_reconcile" and args["state"] == "compared":
            self.site.checks.rebuilding &= args["vms"] is None
            actor.plan = answer["plan"]
            for finding in answer["findings"]:
                self.count(f"found {finding['kind']}")
        elif name == "scaling_action" and args["state"] in ENDS:
            self.site.checks.breaker.result(self.site.clock(), len(args["launch_failures"]), args["launched"])
            self.count(f"ended {args['state']}")
            if answer["event"].get("breaker_opened"):
                self.count("breaker opened")

    @contextlib.contextmanager
    def _patched(self, play: Play) -> t.Iterator[None]:
        """Clock, network, owner and heartbeat of the plugins are those of the world while they work for *play*."""
        clock = SimpleNamespace(time=self.site.clock)

        def answers(address: str, *_args: t.Any) -> str | None:
            return "something answers" if self.site.answers(address) else None

        wanted: list[tuple[t.Any, str, t.Any]] = [
            *((module, "time", clock) for module in PLUGINS.values() if hasattr(module, "time")),
            *((m, "default_owner", lambda: play.actor.owner) for m in PLUGINS.values() if hasattr(m, "default_owner")),
            *((module, "parse_spec", _parse_once) for module in _PARSERS),
            (scaling_action, "start_heartbeat", lambda *_args, **_kwargs: None),
            (scaling_action, "_probe", SimpleNamespace(answers=answers)),
        ]
        before = [(where, name, getattr(where, name)) for where, name, _value in wanted]
        keywords = dict(_begin.begin.__kwdefaults__)
        for where, name, value in wanted:
            setattr(where, name, value)
        _begin.begin.__kwdefaults__["sleep"] = lambda _seconds: self.site.clock.advance(TTL_S / 4 + 1)
        try:
            yield
        finally:
            _begin.begin.__kwdefaults__.update(keywords)
            for where, name, value in before:
                setattr(where, name, value)
