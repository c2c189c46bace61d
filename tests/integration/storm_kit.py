# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A world without machines: groups whose plays do what real ones do with the real ledger and the real planner.

The clock is turned by the test. A play is a row of steps; between any two of them it can vanish.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import threading
import typing as t
from pathlib import Path

import yaml

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Cooldowns,
    GroupSpec,
    Signal,
    decide,
    free_addresses,
    observe,
    parse_spec,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._config import Config, ExecutorConfig
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._dispatcher import Dispatcher
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import Job, Outcome, State
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._groups import Groups
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._metrics import Metrics
from ansible_collections.onprem.autoscale.plugins.plugin_utils._resume import resume

LOCK_TTL_S = 120.0


def make_spec(name: str, number: int, **size: int) -> dict[str, t.Any]:
    """A group with addresses of its own, twenty of them."""
    net = f"10.{number // 200}.{number % 200}"
    return {
        "name": name,
        "size": {"min": 2, "max": 6, "step_out": 1, "step_in": 1, **size},
        "cooldown": {"out": 40, "in": 60},
        "policies": [{"type": "threshold", "out": {"cpu": 80}, "in": {"cpu": 20}}],
        "vm": {"template": "template", "prefix": name},
        "network": {
            "name": "VM Network",
            "start": f"{net}.10",
            "end": f"{net}.29",
            "cidr": f"{net}.0/24",
            "gateway": f"{net}.1",
        },
        "load_balancer": {"pool": f"{name}-pool", "port": 8080},
        "base_members": [{"name": f"{name}-base-{n}", "address": f"{net}.{n}"} for n in (2, 3)],
    }


class World:
    """VMs by group; each that exists serves and is scraped. ``made`` counts how often each name was cloned."""

    def __init__(self) -> None:
        self.vms: dict[str, dict[str, str]] = collections.defaultdict(dict)
        self.made: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def create(self, group: str, name: str, address: str) -> None:
        """As vsphere_clone: a VM of that name is taken for the one that was asked for."""
        with self._lock:
            if name not in self.vms[group]:
                assert address not in self.vms[group].values(), f"{address} twice"
                self.made[name] += 1
                self.vms[group][name] = address

    def delete(self, group: str, name: str) -> None:
        """One that is gone is gone."""
        with self._lock:
            self.vms[group].pop(name, None)

    def seen(self, spec: GroupSpec) -> dict[str, list[dict[str, t.Any]]]:
        """What the three backends show."""
        with self._lock:
            mine = dict(self.vms[spec.name])
        everyone = {**{row.name: row.address for row in spec.base_members}, **mine}
        port = spec.load_balancer.port
        return {
            "vms": [
                {"name": n, "moid": f"vm-{n}", "address": a, "power_state": "on", "marks": {"group": spec.name}}
                for n, a in mine.items()
            ],
            "pool_members": [
                {"address": a, "port": port, "availability": "available", "in_service": True} for a in everyone.values()
            ],
            "targets": [{"address": a, "labels": {"job": spec.monitoring.job}} for a in everyone.values()],
        }


def play(ledger: Ledger, world: World, spec: GroupSpec, job: Job, owner: str) -> t.Iterator[str]:
    """The steps of one attempt; each ``next()`` does one and stops before the next."""
    ident, group = job.ident, spec.name
    ledger.start_action(
        group, job.direction, ident=ident, owner=owner, ttl=LOCK_TTL_S,
        source=job.source, reason=job.reason, attempt=job.attempt,
    )  # fmt: skip
    yield "started"
    stored = ledger.action(ident)["plan"]
    observed = observe(spec, ledger_members=ledger.members(group), **world.seen(spec))
    rests = Cooldowns(**{f"{kind}_until": until for kind, until in ledger.cooldowns(group).items()})
    signal = Signal(job.direction, source=job.source, reason=job.reason)
    plan = resume(stored, spec, observed) if stored else decide(spec, observed, rests, signal, ledger.clock())
    if not plan.acts:
        ledger.finish_action(
            ident, state="refused", code=plan.code, message=plan.reason, owner=owner,
            count_after=plan.size_after, cooldown_until=plan.cooldown_until,
        )  # fmt: skip
        return
    victims = [{"name": row.name, "address": row.address, "moid": row.moid} for row in plan.victims]
    ledger.record_plan(ident, plan.as_dict(), victims, owner=owner)
    yield "planned"
    names = [launch.name for launch in plan.launches]
    leases = {}
    if names:
        candidates = free_addresses(spec.network, ledger.leased_addresses())
        leases = ledger.lease_addresses(ident, group, names, candidates, owner=owner)
        yield "leased"
    state = "launching" if names else "draining"
    rows = [{"name": name, "state": state} for name in names or [row["name"] for row in victims]]
    ledger.begin_step(ident, "clone" if names else "drain", members=rows, owner=owner)
    yield "begun"
    for name, address in leases.items():
        world.create(group, name, address)
        yield "created"
    for row in victims:
        world.delete(group, row["name"])
        yield "deleted"
    ledger.finish_action(
        ident, state="succeeded", code=plan.code, count_after=plan.size_after, owner=owner,
        members=[{"name": n, "address": a, "state": "in_service"} for n, a in leases.items()],
        removed=[row["name"] for row in victims], cooldown=spec.cooldown.of(job.direction),
    )  # fmt: skip


@dataclasses.dataclass
class Running:
    """A play between two steps; ``at`` names the last one."""

    job: Job
    owner: str
    steps: t.Iterator[str]
    due: float
    at: str = ""
    done: int = 0  # steps


class PlayExecutor:
    """An executor whose plays live in this process; the test moves them on.

    :param seconds: how long an attempt takes at least; its last step is not done before.
    """

    def __init__(
        self, ledger: Ledger, world: World, specs: t.Mapping[str, GroupSpec], node: str, clock: t.Callable[[], float],
        seconds: t.Callable[[Job], float] = lambda _job: 0.0,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._world = world
        self._specs = specs
        self._node = node
        self._clock = clock
        self._seconds = seconds
        self.running: dict[str, Running] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.launched: list[Job] = []
        self.most = 0

    def launch(self, job: Job) -> None:
        """Protocol."""
        assert job.name not in self.outcomes, "an attempt is launched once"
        owner = f"{self._node}/{job.name}"
        steps = play(self._ledger, self._world, self._specs[job.group], job, owner)
        self.launched.append(job)
        self.running[job.name] = Running(job, owner, steps, self._clock() + self._seconds(job))
        self.outcomes[job.name] = Outcome(State.RUNNING)
        self.most = max(self.most, len(self.running))

    def look(self, name: str) -> Outcome:
        """Protocol."""
        return self.outcomes.get(name, Outcome(State.ABSENT, message="never launched here"))

    def cancel(self, _name: str) -> bool:
        """Protocol."""
        return False

    def knows(self, ident: str) -> bool:
        """Protocol."""
        return any(name.rpartition("-")[0] == ident for name in self.outcomes)

    def busy(self, group: str) -> list[str]:
        """Protocol."""
        return [name for name, run in self.running.items() if run.job.group == group]

    def forget(self, name: str, *, good: bool) -> None:
        """Protocol."""

    def prune(self, _keep: t.Collection[str]) -> int:
        """Protocol."""
        return 0

    def advance(self, steps: int = 1, *, which: t.Callable[[Running], bool] = lambda _run: True) -> None:
        """Each running play does up to *steps* steps, and beats; the end waits until its time has come."""
        for name in [name for name, run in self.running.items() if which(run)]:
            for _unused in range(steps):
                if name in self.running:
                    self._step(name)
            if name in self.running:
                with contextlib.suppress(AutoscaleError):  # the play itself will hear of it
                    self._ledger.heartbeat(self.running[name].job.ident, self.running[name].owner, LOCK_TTL_S)

    def _step(self, name: str) -> None:
        run = self.running[name]
        if run.at in ("created", "deleted") and self._clock() < run.due:
            return
        try:
            run.at = next(run.steps)
            run.done += 1
        except StopIteration:
            self._ended(name, 0)
        except AutoscaleError as error:
            self._ended(name, 2, error.message)

    def _ended(self, name: str, rc: int, message: str = "") -> None:
        del self.running[name]
        status = "failed" if rc else "successful"
        self.outcomes[name] = Outcome(State.FINISHED, rc=rc, status=status, message=message)


@dataclasses.dataclass
class Clock:
    """Seconds since the epoch that only a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def write_groups(folder: Path, data: t.Iterable[dict[str, t.Any]]) -> dict[str, GroupSpec]:
    """One file a group; the specs by name."""
    folder.mkdir(exist_ok=True)
    specs = {}
    for row in data:
        (folder / f"{row['name']}.yml").write_text(yaml.safe_dump(row))
        specs[row["name"]] = parse_spec(row)
    return specs


def make_config(folder: Path, **values: t.Any) -> Config:
    """A receiver's configuration; ``max_parallel`` is the executor's."""
    executor = ExecutorConfig("runner", folder / "runs", max_parallel=values.pop("max_parallel", 4))
    return Config(
        ledger="", scaling_groups_dir=folder / "groups", executor=executor, **{"reconcile_period": 0, **values}
    )


class Node:
    """One dispatcher with its executor."""

    def __init__(
        self, name: str, folder: Path, ledger: Ledger, world: World, specs: t.Mapping[str, GroupSpec],
        clock: t.Callable[[], float], *, seconds: t.Callable[[Job], float] = lambda _job: 0.0, **config: t.Any,
    ) -> None:  # fmt: skip
        self.name = name
        self.config = make_config(folder, node=name, **config)
        self.queue = WorkQueue(ledger)
        self.groups = Groups(self.config.scaling_groups_dir)
        self.metrics = Metrics()
        self.executor = PlayExecutor(ledger, world, specs, name, clock, seconds)
        self.make_dispatcher(self.executor, clock=clock)

    def make_dispatcher(self, executor: PlayExecutor, **options: t.Any) -> None:
        """One that runs its plays with *executor*."""
        self.executor = executor
        self.dispatcher = Dispatcher(self.config, self.queue, executor, self.groups, self.metrics, **options)

    async def look(self, passes: int = 1) -> None:
        """So many passes."""
        for _unused in range(passes):
            await self.dispatcher.look()
            await self.dispatcher.settle()


__all__ = ["Clock", "Node", "PlayExecutor", "World", "make_config", "make_spec", "play", "write_groups"]
