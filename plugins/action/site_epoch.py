# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which site may act on the groups of a scope; documented in plugins/modules/site_epoch.py."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    BackendDownError,
    ConflictError,
    InvalidSpecError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Answer, Epochs, ask_stores
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    EpochClaim,
    EpochSeen,
    epoch_lacking,
    epoch_verdict,
    epoch_wanted,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._ledger_action import (
    Args,
    ControllerAction,
    default_owner,
)

CHECKED, GRANTED = "checked", "granted"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DETAILS = ("granted_at", "by", "reason")


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen at one store; *details* of its record, None where there is none or nobody knows."""

    seen: EpochSeen
    details: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def row(self) -> dict[str, t.Any]:
        """As the result has it."""
        claim = self.seen.claim
        return {
            "name": self.seen.store,
            "reached": self.seen.reached,
            "epoch": claim.epoch if claim else 0,
            "holder": claim.holder if claim else "",
            "alone": claim.alone if claim else False,
            **{key: self.details.get(key) for key in _DETAILS},
            "msg": self.seen.msg,
        }

    def text(self) -> str:
        """One line for a diff."""
        claim = self.seen.claim
        if not self.seen.reached:
            return "not reached"
        return f"{claim.epoch} {claim.holder}{' alone' if claim.alone else ''}" if claim else "nothing"


class ActionModule(ControllerAction):
    """All stores are asked at once, and written at once."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "scope": {"type": "str", "required": True},
        "site": {"type": "str", "required": True},
        "stores": {"type": "dict", "required": True},
        "state": {"type": "str", "choices": ["held", "checked", "granted"], "default": "checked"},
        "force": {"type": "bool", "default": False},
        "reason": {"type": "str", "default": ""},
        "wait_timeout": {"type": "float", "default": 10.0},
    }

    def answer(self, args: Args) -> dict[str, t.Any]:
        _check(args)
        looks_only = self.check_mode or args["state"] == CHECKED
        before = _look(args, look_only=looks_only)
        after = before
        if args["state"] != CHECKED:
            seen = [look.seen for look in before]
            claim = epoch_wanted(args["state"], args["site"], args["scope"], seen, force=args["force"])
            after = self._bring(args, before, claim)
        result = _result(args, after)
        known = {look.seen for look in before}
        result["changed"] = any(look.seen.reached and look.seen not in known for look in after)
        if args["state"] != CHECKED:
            result["warnings"] = [
                f"store {look.seen.store} does not have epoch {result['epoch']} of {args['scope']} yet: {look.seen.msg}"
                for look in after
                if not look.seen.reached
            ]
        if self.wants_diff:
            result["diff"] = {
                when: {look.seen.store: look.text() for look in looks}
                for when, looks in (("before", before), ("after", after))
            }
        return result

    def _bring(self, args: Args, before: t.Sequence[Look], claim: EpochClaim) -> list[Look]:
        """Write *claim* where it is lacking. :raises AutoscaleError: it does not stand as it should."""
        names = epoch_lacking([look.seen for look in before], claim)
        after = self._write(args, before, names, claim)
        conflicts = [look for look in after if look.seen.store in names and look.seen.msg and look.seen.reached]
        if conflicts:
            raise ConflictError(
                f"cannot take {args['scope']} for {args['site']}: "
                + "; ".join(f"{look.seen.store}: {look.seen.msg}" for look in conflicts),
                result=_result(args, after),
            )
        result = _result(args, after)
        if not result["may_act"] and args["force"] and not claim.alone:
            # Stores were lost between the look and the writing.
            forced = dataclasses.replace(claim, alone=True)
            after = self._write(args, after, epoch_lacking([look.seen for look in after], forced), forced)
            result = _result(args, after)
        lost = [f"{look.seen.store}: {look.seen.msg}" for look in after if not look.seen.reached]
        if not result["may_act"] or (lost and args["state"] == GRANTED):
            raise BackendDownError(
                f"epoch {claim.epoch} of {args['scope']} does not stand for {args['site']} yet: {'; '.join(lost)}",
                remedy="Repair what is named and run the same again: it finishes this epoch",
                result={**result, "changed": any(not look.seen.msg for look in after if look.seen.store in names)},
            )
        return after

    def _write(self, args: Args, before: t.Sequence[Look], names: t.Collection[str], claim: EpochClaim) -> list[Look]:
        """The looks after *claim* was written to the stores *names*."""
        written: dict[str, Answer[t.Any]]
        if self.check_mode:
            written = {name: Answer() for name in names}
        else:
            by = default_owner()

            def write(ledger: Epochs) -> t.Any:
                record = {"alone": claim.alone, "by": by, "reason": args["reason"]}
                ledger.write_epoch(args["scope"], claim.epoch, claim.holder, **record)
                return ledger.epoch(args["scope"])

            stores = {name: args["stores"][name] for name in names}
            written = ask_stores(stores, write, timeout=args["wait_timeout"], look_only=False)
        return [
            _after(look, written[look.seen.store], claim) if look.seen.store in written else look for look in before
        ]


def _check(args: Args) -> None:
    for key in ("scope", "site"):
        if not _NAME.fullmatch(args[key]):
            raise InvalidSpecError(
                f"{key}: value is {args[key]!r}; allowed: a name of letters, digits, dots, dashes and underscores"
            )
    stores = args["stores"]
    if not stores:
        raise InvalidSpecError("stores: value is {}; allowed: at least one name with the URL of its ledger")
    urls: dict[str, str] = {}
    for name, url in stores.items():
        if not isinstance(url, str) or not url:
            raise InvalidSpecError(f"stores.{name}: there is no URL; allowed: the URL of a ledger")
        if url in urls:
            # Counted twice, one database alone would be most of the stores.
            raise InvalidSpecError(f"stores.{name}: is the same ledger as {urls[url]}; allowed: one of its own each")
        urls[url] = name
    if args["wait_timeout"] <= 0:
        raise InvalidSpecError(f"wait_timeout: value is {args['wait_timeout']:g}; allowed: a number above 0")


def _look(args: Args, *, look_only: bool) -> list[Look]:
    answers = ask_stores(
        args["stores"],
        lambda ledger: ledger.epoch(args["scope"]),
        timeout=args["wait_timeout"],
        look_only=look_only,
    )
    return [
        Look(EpochSeen(name, False, None, str(answer.error)))
        if answer.error
        else Look(EpochSeen(name, True, _claim(answer.value)), answer.value or {})
        for name, answer in answers.items()
    ]


def _after(look: Look, answer: Answer[t.Any], claim: EpochClaim) -> Look:
    store = look.seen.store
    if answer.error is None:
        return Look(EpochSeen(store, True, _claim(answer.value) or claim), answer.value or {})
    record = answer.error.result.get("record")
    return Look(EpochSeen(store, record is not None, _claim(record), str(answer.error)), record or {})


def _claim(record: t.Mapping[str, t.Any] | None) -> EpochClaim | None:
    return EpochClaim(record["epoch"], record["holder"], bool(record["alone"])) if record else None


def _result(args: Args, looks: t.Sequence[Look]) -> dict[str, t.Any]:
    verdict = epoch_verdict(args["site"], args["scope"], [look.seen for look in looks])
    return {
        "scope": args["scope"],
        "site": args["site"],
        **verdict.as_dict(),
        "stores": [look.row() for look in looks],
    }
