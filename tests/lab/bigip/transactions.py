# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions: commands kept apart until they are carried out together, or not at all."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from .errors import ApiError
from .ltm import change, locate
from .model import Config
from .view import link

TIMEOUT_S = 120


@dataclasses.dataclass
class Command:
    """One call that waits for the commit."""

    method: str
    parts: list[str]
    body: dict[str, Any]

    def show(self, transaction: int, number: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "method": self.method,
            "uri": f"https://localhost/mgmt/tm/{'/'.join(self.parts)}",
            "evalOrder": number,
            "commandId": number,
            "kind": "tm:transaction:commandsstate",
            "selfLink": link("transaction", str(transaction), "commands", str(number)),
        }
        return {**body, "body": self.body} if self.body else body


@dataclasses.dataclass
class Transaction:
    """Commands in the order of arrival."""

    ident: int
    user: str
    touched: float
    state: str = "STARTED"
    reason: str = ""
    commands: list[Command] = dataclasses.field(default_factory=list)

    def show(self) -> dict[str, Any]:
        return {
            "transId": self.ident,
            "state": self.state,
            "timeoutSeconds": TIMEOUT_S,
            "asyncExecution": False,
            "validateOnly": False,
            "executionTimeout": 300,
            "executionTime": 0,
            "failureReason": self.reason,
            "kind": "tm:transactionstate",
            "selfLink": link("transaction", str(self.ident)),
        }


class Transactions:
    """The open transactions of a device. One that is not touched for two minutes is forgotten."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.open: dict[int, Transaction] = {}
        self._clock = clock
        self._idents = itertools.count(int(time.time()))

    def find(self, ident: str, user: str) -> Transaction:
        """A transaction of *user*.

        :raises ApiError: 404 when it ended, timed out or never was.
        """
        now = self._clock()
        for old in [number for number, item in self.open.items() if item.touched + TIMEOUT_S <= now]:
            del self.open[old]
        item = self.open.get(int(ident)) if ident.isdigit() else None
        if item is None or item.user != user:
            raise ApiError(404, f"there is no active transaction with id {ident}", api_error=1)
        item.touched = now
        return item

    def start(self, user: str) -> dict[str, Any]:
        item = Transaction(next(self._idents), user, self._clock())
        self.open[item.ident] = item
        return item.show()

    def add(self, ident: str, user: str, command: Command) -> dict[str, Any]:
        """Keep a command; its shape is checked now, its sense at the commit.

        :raises ApiError: 404 for an unknown transaction or path.
        """
        item = self.find(ident, user)
        locate(command.parts)
        item.commands.append(command)
        return command.show(item.ident, len(item.commands))

    def carry_out(self, item: Transaction, config: Config) -> None:
        """Run every command on *config*.

        :raises ApiError: what the first failing command was answered; *config* is to be thrown away then.
        """
        for command in item.commands:
            try:
                change(config, command.method, locate(command.parts), command.body)
            except ApiError as exc:
                item.state, item.reason = "FAILED", exc.message
                self.open.pop(item.ident, None)
                raise ApiError(exc.status, f"transaction failed:{exc.message}", api_error=2) from exc

    def close(self, item: Transaction) -> dict[str, Any]:
        item.state = "COMPLETED"
        self.open.pop(item.ident, None)
        return item.show()

    @staticmethod
    def commit_wanted(body: Mapping[str, Any]) -> bool:
        """Whether a PATCH asks for the commit.

        :raises ApiError: 400 for another state.
        """
        if body.get("state") not in {None, "VALIDATING"}:
            raise ApiError(400, f'invalid property value "state":"{body["state"]}"', api_error=26214401)
        return body.get("state") == "VALIDATING"
