# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storms: very many deliveries, very many groups, and a dispatcher that dies in the middle (T1, T3, T4, A10).

Receiver, ledger, dispatcher and planner are the real ones; the plays do to the ledger what real plays do.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import random
import threading
import time
import typing as t
import zlib
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from integration.receiver_kit import TOKEN, alert, notification
from integration.storm_kit import Clock, Node, PlayExecutor, World, make_spec, write_groups

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._config import Caller, Token
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import Job, Outcome, State
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._receiver import Receiver
from lab.postgres import Postgres

pytestmark = pytest.mark.timeout(900)  # half a minute each on two idle cores
TICK = 5.0
TICKS = 720
DELIVERIES = 10_000
LATE_TICKS = 5  # a copy that comes up to 25 s after its alert's end
GHOSTS = 12  # alerts whose end is delivered before their beginning


@dataclasses.dataclass(frozen=True)
class Episode:
    """The alert of one direction holds from tick *start* up to, not including, tick *end*."""

    direction: str
    start: int
    end: int


def make_episodes(rng: random.Random) -> list[Episode]:
    """One after the other; a change of direction leaves time for an action to end, the same one comes back quickly."""
    found: list[Episode] = []
    at, direction = 2, "out"
    while True:
        change = rng.random() < 0.6
        at += rng.randint(6, 12) if change else rng.randint(1, 4)
        if change:
            direction = "in" if direction == "out" else "out"
        end = at + rng.choice([1, 3, rng.randint(8, 60), rng.randint(30, 60)])
        if end > TICKS - 10:
            return found
        found.append(Episode(direction, at, end))
        at = end


def make_deliveries(rng: random.Random, episodes: list[Episode]) -> dict[int, list[dict[str, t.Any]]]:
    """Tick -> alerts that arrive in it, in any order. Every tick of an episode has at least one that is in time."""
    by_tick: dict[int, list[dict[str, t.Any]]] = collections.defaultdict(list)
    slots: list[tuple[int, dict[str, t.Any]]] = []
    for number, episode in enumerate(episodes):
        names = {"action": f"scale_{episode.direction}", "fingerprint": f"{episode.direction}feed", "starts": number}
        firing, resolved = alert("web", **names), alert("web", status="resolved", **names)
        for tick in range(episode.start, episode.end):
            by_tick[tick].append(firing)
            slots.append((tick, firing))  # repeats and the other Alertmanager of the pair
        by_tick[episode.end].append(resolved)
        slots += [(episode.end + late, resolved) for late in range(3)]
        slots += [(episode.end + late, firing) for late in range(LATE_TICKS)]  # late, behind their own end
    for number in range(GHOSTS):
        names = {"fingerprint": f"{number}dead", "starts": -1 - number}
        at = rng.randint(0, TICKS - 10)
        by_tick[at].append(alert("web", status="resolved", **names))
        by_tick[at + rng.randint(1, LATE_TICKS)].append(alert("web", **names))
    count = sum(map(len, by_tick.values()))
    for tick, what in rng.choices(slots, k=DELIVERIES - count):
        by_tick[tick].append(what)
    for found in by_tick.values():
        rng.shuffle(found)
    return by_tick


def seconds_of(ident: str) -> float:
    """How long the play of that action takes."""
    return TICK * (1 + zlib.crc32(ident.encode()) % 4)


def expected(episodes: list[Episode], size: int) -> list[tuple[float, str, str]]:
    """The model: while an alert holds, the group is idle and the direction has rested, it acts. Nothing else counts.

    :returns: (seconds since the beginning, direction, how it ended) of each action.
    """
    found: list[tuple[float, str, str]] = []
    rest = {"out": 0.0, "in": 0.0}
    busy, until = "", 0.0
    for tick in range(TICKS):
        now = tick * TICK
        if busy and until <= now:
            rest[busy] = now + {"out": 40.0, "in": 60.0}[busy]
            size += 1 if busy == "out" else -1
            busy = ""
        holds = next((e.direction for e in episodes if e.start <= tick < e.end), None)
        if busy or holds is None or rest[holds] > now:
            continue
        if size == (6 if holds == "out" else 2):
            rest[holds] = now + {"out": 40.0, "in": 60.0}[holds]
            found.append((now, holds, "refused"))
        else:
            busy, until = holds, now + seconds_of(f"web-{len(found) + 1}")
            found.append((now, holds, "succeeded"))
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[str]:
    """Of an empty ledger."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    with Postgres.temporary() as server:
        server.create_role("ledger")
        server.create_database("ledger", owner="ledger")
        yield server.url("ledger", user="ledger")


class Door:
    """The receiver's real application on a socket of its own, and a client that may come in."""

    def __init__(self, node: Node, folder: Path) -> None:
        token = folder / "token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        config = dataclasses.replace(node.config, tokens=(Token(Caller("alertmanager"), token),))
        self._receiver = Receiver(
            config, node.queue, node.groups, node.metrics, wake=node.dispatcher.wake, last_pass=time.time
        )
        self._server = TestServer(self._receiver.app())
        self.answers: collections.Counter[int] = collections.Counter()
        self.sums: collections.Counter[str] = collections.Counter()

    async def __aenter__(self) -> Door:
        await self._server.start_server()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16), headers={"Authorization": f"Bearer {TOKEN}"}
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()
        await self._server.close()
        self._receiver.close()

    async def post(self, *alerts: dict[str, t.Any]) -> None:
        """One notification; a 503 is tried again, as Alertmanager does."""
        status = 503
        while status == 503:
            async with self._session.post(self._server.make_url("/alerts"), json=notification(*alerts)) as answer:
                status = answer.status
                self.answers[status] += 1
                body = await answer.json()
            if status == 503:
                await asyncio.sleep(0.5)
        self.sums.update({name: count for name, count in body.items() if isinstance(count, int)})


async def test_ten_thousand_deliveries_make_the_actions_that_the_cooldown_allows(url: str, tmp_path: Path) -> None:
    """T1, T3, A4: repeats, HA pairs, any order, late copies, resolved between; each action at its very second."""
    rng = random.Random(20260101)
    episodes = make_episodes(rng)
    deliveries = make_deliveries(rng, episodes)
    assert sum(map(len, deliveries.values())) == DELIVERIES
    clock, world, began = Clock(), World(), time.monotonic()
    start = clock.now
    specs = write_groups(tmp_path / "groups", [make_spec("web", 0)])
    with Ledger.open(url, clock=clock) as ledger:
        node = Node("here", tmp_path, ledger, world, specs, clock, seconds=lambda job: seconds_of(job.ident))
        async with Door(node, tmp_path) as door:
            for tick in range(TICKS):
                clock.now = start + tick * TICK
                left = deliveries.get(tick, [])
                posts = []
                while left:
                    size = rng.randint(1, 8)
                    posts.append(door.post(*left[:size]))
                    left = left[size:]
                await asyncio.gather(*posts)
                node.executor.advance(10)
                await node.look(2)
                node.executor.advance(10)
        events = list(reversed(ledger.events(["web"], limit=1000)))
        leased = len(ledger.group_state("web")["leases"])
        stored = node.queue.recent_alerts(1000)
    found = [(round(event["started_at"] - start, 3), event["direction"], event["result"]) for event in events]
    wanted = expected(episodes, 2)
    kinds = collections.Counter((direction, result) for _at, direction, result in found)
    took = time.monotonic() - began
    print(
        f"{DELIVERIES} deliveries in {sum(door.answers.values())} requests of {len(episodes)} alerts:"
        f" {len(found)} actions {dict(kinds)}, expected {len(wanted)}; {took:.0f} s"
    )
    assert door.answers.keys() <= {202, 503}
    assert len(stored) == 2 * (len(episodes) + GHOSTS)
    assert door.sums["accepted"] + door.sums["duplicates"] == DELIVERIES
    assert found == wanted
    assert len(kinds) == 4, "the bounds were met on both sides"
    assert len(world.vms["web"]) == leased == kinds["out", "succeeded"] - kinds["in", "succeeded"]
    assert set(world.made.values()) == {1}
    assert len(node.executor.launched) == len(found), "no attempt was needed twice"


class ThreadExecutor(PlayExecutor):
    """Each play is a thread that really runs beside the others; it notes who ran at the same time."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = threading.Lock()
        self._active: collections.Counter[str] = collections.Counter()
        self.overlaps: list[str] = []
        self.errors: list[str] = []

    def launch(self, job: Job) -> None:
        """Protocol."""
        super().launch(job)
        threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def _run(self, job: Job) -> None:
        with self._guard:
            self._active[job.group] += 1
            if self._active[job.group] > 1:
                self.overlaps.append(job.name)
        try:
            for _step in self.running[job.name].steps:
                time.sleep(0.02)
        except Exception as error:
            self.errors.append(f"{job.name}: {error}")
        with self._guard:
            self._active[job.group] -= 1
            del self.running[job.name]
        self.outcomes[job.name] = Outcome(State.FINISHED, rc=0, status="successful")


async def test_a_hundred_groups_at_once_all_scale(url: str, tmp_path: Path) -> None:
    """A10, invariant 6: real threads, a pair of Alertmanagers; each group grows by its step, and none acts twice."""
    names = [f"g{number:03}" for number in range(100)]
    specs = write_groups(tmp_path / "groups", [make_spec(n, i, step_out=2) for i, n in enumerate(names)])
    world, began = World(), time.monotonic()
    with Ledger.open(url) as ledger:
        node = Node("here", tmp_path, ledger, world, specs, time.time, max_parallel=16)
        executor = ThreadExecutor(ledger, world, specs, "here", time.time)
        node.make_dispatcher(executor, tick=0.1)
        async with Door(node, tmp_path) as door:
            running = asyncio.create_task(node.dispatcher.run())
            alerts = [alert(name, fingerprint=f"feed{i:03}") for i, name in enumerate(names)]
            await asyncio.gather(*(door.post(*alerts) for _unused in range(3)), *(door.post(a) for a in alerts))
            while any(len(world.vms[name]) < 2 for name in names) or executor.running or node.queue.running():
                assert time.monotonic() - began < 200, ledger.events(limit=5)
                await asyncio.sleep(0.2)
            await asyncio.sleep(1)  # for a second action that must not come
            node.dispatcher.stop()
            await running
        events = collections.Counter((event["group"], event["result"]) for event in ledger.events(limit=1000))
        leased = ledger.leased_addresses()
    print(
        f"{len(names)} groups: {len(executor.launched)} actions, {executor.most} at once at most,"
        f" {len(executor.overlaps)} overlaps; {time.monotonic() - began:.0f} s"
    )
    assert executor.errors == executor.overlaps == []
    assert {name: len(world.vms[name]) for name in names} == dict.fromkeys(names, 2)
    assert events == {(name, "succeeded"): 1 for name in names}
    assert sorted(leased) == sorted(address for vms in world.vms.values() for address in vms.values())
    assert 1 < executor.most <= 16
    assert door.answers.keys() <= {202, 503}
    assert door.answers[202] == 103


async def test_a_claim_made_while_the_pass_was_reading_takes_its_place(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """max_parallel holds for a claim that is not in what was read, and whose task has ended before it is used."""
    specs = write_groups(tmp_path / "groups", [make_spec(f"g{number}", number) for number in range(4)])
    with Ledger.open(url) as ledger:
        node = Node("here", tmp_path, ledger, World(), specs, time.time, max_parallel=2)
        loop, has_read, dispatcher = asyncio.get_running_loop(), threading.Event(), node.dispatcher
        claim, groups = node.queue.claim, node.queue.groups

        def claim_after_the_read(*args: t.Any, **kwargs: t.Any) -> t.Any:
            assert has_read.wait(30)
            return claim(*args, **kwargs)

        def read_long_ago() -> t.Any:
            works = groups()
            has_read.set()
            asyncio.run_coroutine_threadsafe(dispatcher.settle(), loop).result(30)
            return works

        async with Door(node, tmp_path) as door:
            await door.post(*(alert(name, fingerprint=f"feed{name}") for name in specs))
            monkeypatch.setattr(node.queue, "claim", claim_after_the_read)
            await dispatcher.look()
            monkeypatch.setattr(node.queue, "groups", read_long_ago)
            await dispatcher.look()
            await dispatcher.settle()
    assert len(node.executor.running) == node.executor.most == 2


@pytest.mark.parametrize("plays", ["vanish", "go on"])
async def test_one_of_two_dispatchers_dies_and_nothing_is_lost_or_done_twice(
    url: str, tmp_path: Path, plays: str
) -> None:
    """T4, invariants 6 and 7: killed at a step that differs from group to group, with its plays or without them."""
    names = [f"g{number:02}" for number in range(30)]
    specs = write_groups(tmp_path / "groups", [make_spec(n, i, step_out=2) for i, n in enumerate(names)])
    clock, world, began = Clock(), World(), time.monotonic()
    with Ledger.open(url, clock=clock) as ledger:
        nodes = [Node(name, tmp_path, ledger, world, specs, clock, max_parallel=6) for name in ("a", "b")]
        first, second = nodes
        second.queue.accept_alerts([Alert(f"feed{name}", "s", "firing", name, "out", "storm") for name in names])
        killed: list[str] = []
        for tick in range(400):
            clock.now += 2.0
            for node in nodes:
                await node.look(2)
            second.executor.advance()
            # One stands still behind its launch, one behind its first step, and so on, until the kill.
            limits = {name: 99 if killed else index % 7 for index, name in enumerate(names)}
            first.executor.advance(which=lambda run, limits=limits: run.done < limits[run.job.group])
            if tick == 7:
                killed = [f"{run.job.ident} after {run.at or 'launch'}" for run in first.executor.running.values()]
                nodes = [second]  # SIGKILL: no goodbye to the ledger
                if plays == "vanish":
                    first.executor.running.clear()
            if all(work.running is None and not work.waiting for work in second.queue.groups()):
                break
        events = collections.Counter((event["action"], event["result"]) for event in ledger.events(limit=1000))
        works = second.queue.groups()
    steps = collections.Counter(what.partition(" ")[2] for what in killed)
    print(
        f"{len(names)} groups, two dispatchers; {len(killed)} plays of the dead one: {dict(steps)};"
        f" {clock.now - 1_800_000_000.0:.0f} s of the ledger's clock, {time.monotonic() - began:.0f} s"
    )
    assert len(killed) == len(steps) == 6
    assert events == {(f"{name}-1", "succeeded"): 1 for name in names}, "each action ended once"
    assert {name: len(world.vms[name]) for name in names} == dict.fromkeys(names, 2)
    assert set(world.made.values()) == {1}, "no VM was made twice"
    assert all(work.running is None and not work.locked_until for work in works)
    attempts = collections.Counter(job.ident for node in (first, second) for job in node.executor.launched)
    again = {ident for ident, count in attempts.items() if count > 1}
    assert again == ({what.split()[0] for what in killed} if plays == "vanish" else set())
    assert max(first.executor.most, second.executor.most) <= 6
