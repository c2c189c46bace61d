# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The eleven invariants of design.md, section 4, over random histories of one group; and the proof that they can
fail."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import typing as t

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from unit.world import autoscaler, playbook_runner
from unit.world.site_checks import Violation
from unit.world.world_machine import TOTALS, WorldMachine

from ansible_collections.onprem.autoscale.plugins.action import scaling_plan
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_inbox import Inbox
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import _decision, _reconcile
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._state import Observed

STEPS = 50


def _settings(examples: int, **more: t.Any) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **more,
    )


def _show(capsys: pytest.CaptureFixture[str]) -> None:
    """What really happened, so that a person sees that the rules ran."""
    with capsys.disabled():
        print(f"\n{TOTALS['examples']} examples of {STEPS} steps")
        for what, count in sorted(TOTALS.items()):
            print(f"{count:8d} {what}")


#: Each has to happen in a hundred examples, or the machine tests less than it says.
MUST_HAPPEN = (
    "plays", "VMs made", "dispatched", "claimed out", "claimed in", "plan scale_out", "plan scale_in",
    "killed inside a journal entry", "frozen", "ledger lost", "resumed out", "resumed in", "resumed reconcile",
    "found vm_half_made", "found vm_deleted", "found below_min", "found lease_without_vm", "found member_without_vm",
    "delete_vm", "power_off_vm", "make_vm_sick", "remove_pool_member", "protect_vm",
    "dispatcher killed between transactions",
)  # fmt: skip


def _check_happened(names: t.Iterable[str]) -> None:
    missing = [name for name in names if not TOTALS[name]]
    assert not missing, f"never happened: {missing}"
    for number in range(1, 12):
        assert number == 7 or TOTALS[f"asked {number:2d}"], f"nobody asked for invariant {number}"


def test_the_invariants_hold_in_100_random_histories(capsys):
    """``make test``: 100 examples of 50 steps, the same ones each time; the nightly lane looks for new ones."""
    TOTALS.clear()
    run_state_machine_as_test(WorldMachine, settings=_settings(100, derandomize=True, database=None))
    _show(capsys)
    _check_happened(MUST_HAPPEN[:8])


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_the_invariants_hold_in_2000_random_histories(capsys):
    """``make test-nightly``: 2,000 examples of 50 steps."""
    TOTALS.clear()
    run_state_machine_as_test(WorldMachine, settings=_settings(2000))
    _show(capsys)
    assert TOTALS["examples"] >= 2000
    _check_happened((*MUST_HAPPEN, "breaker opened", "taken over"))


# ---- the machine can fail --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _playbook(name: str, change: t.Callable[[list[t.Any]], list[t.Any]]) -> t.Iterator[None]:
    """The tasks of *name*, changed."""
    whole = playbook_runner._file

    def changed(path: t.Any) -> list[t.Any]:
        tasks = whole(path)
        return change(copy.deepcopy(tasks)) if path.name == name else tasks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(playbook_runner, "_file", changed)
        yield


def _without(*names: str) -> t.Callable[[list[t.Any]], list[t.Any]]:
    """Tasks less those of these names; what they register is then as if they had been skipped."""

    def change(tasks: list[t.Any]) -> list[t.Any]:
        return [
            {**task, "block": change(task["block"])} if "block" in task else task
            for task in tasks
            if task.get("name") not in names
        ]

    return change


def _gate_that_nobody_asks(tasks: list[t.Any]) -> list[t.Any]:
    fact = {"name": "Believe it", "ansible.builtin.set_fact": {"gated": {"members": "{{ planned.vms }}"}}}
    return [fact if "onprem.autoscale.health_gate" in task else task for task in tasks]


def _no_answer_is_empty(tasks: list[t.Any]) -> list[t.Any]:
    """Prometheus that does not answer shows no targets."""
    empty = {
        "name": "Believe it",
        "ansible.builtin.set_fact": {"seen_targets": {"targets": [], "job_known": True}},
        "when": "seen_targets is failed",
    }
    found = []
    for task in tasks:
        asks = "onprem.autoscale.prometheus_target_info" in task
        found += [{**task, "ignore_errors": True}, empty] if asks else [task]
    return found


@contextlib.contextmanager
def _patched(*changes: tuple[t.Any, str, t.Any]) -> t.Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for target, name, value in changes:
            patch.setattr(target, name, value)
        yield


def _healthy_only(observed: Observed) -> int:
    """CloudStack's count: a VM that does not work does not count."""
    return sum(member.base or member.in_service for member in observed.members)


def _owned_alone(numbers: t.Mapping[str, int], _direction: str) -> int:
    return numbers["owned"]


def _minimum_later(spec: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    """Nomad's order: who leaves is chosen, drained, and only then the minimum is looked at."""
    size = dataclasses.replace(spec.size, min=0)
    return _decision.decide(dataclasses.replace(spec, size=size), *args, **kwargs)


def _leave_early(self: autoscaler.WorldLedger, ident: str, step: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
    """The address is given back when the drain begins."""
    row = super(autoscaler.WorldLedger, self).begin_step(ident, step, *args, **kwargs)
    leaving = [member["name"] for member in self.members("web") if member["state"] == "draining"]
    if leaving:
        self.release_leases("web", leaving)
    return row


BUGS: dict[str, tuple[int, t.Callable[[], t.ContextManager[None]]]] = {
    "only healthy VMs count as owned (CloudStack)": (
        1, lambda: _patched((Observed, "owned", property(_healthy_only)), (_decision, "_size", _owned_alone)),
    ),
    "the minimum is looked at after the drain (Nomad)": (2, lambda: _patched((scaling_plan, "decide", _minimum_later))),
    "an address is free before its VM is gone": (
        3, lambda: _patched((autoscaler.WorldLedger, "begin_step", _leave_early)),
    ),
    "a VM is deleted while it is in the pool": (4, lambda: _playbook("retire.yml", _without("Leave the pool"))),
    "traffic before the gate": (5, lambda: _playbook("launch.yml", _gate_that_nobody_asks)),
    "no lock": (6, lambda: _patched((autoscaler.WorldLedger, "_check_free", lambda *_args, **_kwargs: None))),
    "who lost the lock undoes all the same": (6, lambda: _playbook("undo.yml", _without("Journal, undo begins"))),
    "what was cut off is never taken back": (
        7, lambda: _patched((_reconcile, "check_vms", lambda _draft: None)),
    ),
    "no answer of Prometheus is one without targets": (9, lambda: _playbook("observe.yml", _no_answer_is_empty)),
    "a resolved alert still asks": (11, lambda: _patched((Inbox, "_withdraw_resolved", lambda *_args: 0))),
}  # fmt: skip


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bug", BUGS)
def test_the_machine_finds_a_planted_bug(bug, capsys):
    """Each would break one invariant; the machine says which, within some hundred examples."""
    number, plant = BUGS[bug]
    TOTALS.clear()

    class Planted(WorldMachine):
        pass

    with plant(), pytest.raises(Violation) as found:
        run_state_machine_as_test(
            Planted, settings=_settings(1000, phases=[Phase.generate], database=None, derandomize=True)
        )
    with capsys.disabled():
        print(f"\n{bug}: found in example {TOTALS['examples']} of {STEPS} steps: {found.value}")
    assert found.value.number == number
