# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The HTTP side. A delivery is authenticated, measured, checked, stored, and only then answered with 202 (T1); nothing
here waits for an action, and nothing here knows a threshold.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import time
import typing as t

from ...module_utils._common._errors import AutoscaleError
from ...module_utils._ledger._work import WorkQueue
from ...module_utils._ledger._work_rows import GroupWork
from ._auth import Doorkeeper
from ._config import Caller, Config
from ._groups import Groups
from ._libraries import web
from ._metrics import Metrics
from ._payload import Notification, PayloadError, parse_notification, plain

LOG = logging.getLogger(__name__)
#: Alertmanager gives up a request after its own timeout; an answer that comes later helps nobody.
STORE_TIMEOUT_S = 5.0
BODY_TIMEOUT_S = 10.0
MAX_IN_FLIGHT = 64
RETRY_AFTER_S = 5
ALIVE_S = 30.0
_HEALTH_CACHE_S = 2.0


class LedgerBusy(Exception):
    """The ledger did not answer in time, or too many deliveries wait for it."""


class Receiver:
    """The web application.

    :param wake: called after new signals were stored.
    :param last_pass: when the dispatcher last looked, in seconds since the epoch.
    """

    def __init__(
        self,
        config: Config,
        queue: WorkQueue,
        groups: Groups,
        metrics: Metrics,
        *,
        wake: t.Callable[[], None],
        last_pass: t.Callable[[], float],
    ) -> None:
        self._config = config
        self._queue = queue
        self._groups = groups
        self._metrics = metrics
        self._wake = wake
        self._last_pass = last_pass
        self._door = Doorkeeper(config)
        self._pool = concurrent.futures.ThreadPoolExecutor(4, "receive")
        self._in_flight = 0
        self._health: tuple[float, str] = (0.0, "not asked yet")

    def app(self) -> web.Application:
        """The application, to be served by an ``AppRunner``."""

        @web.middleware
        async def measured(request: web.Request, handler: t.Callable[..., t.Any]) -> web.StreamResponse:
            return await self._measured(request, handler)

        app = web.Application(client_max_size=self._config.max_body_bytes, middlewares=[measured])
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/actions", self.actions)
        app.router.add_post("/{path:.*}", self.deliver)
        return app

    async def _measured(self, request: web.Request, handler: t.Callable[..., t.Any]) -> web.StreamResponse:
        started = time.monotonic()
        code = 500
        try:
            response: web.StreamResponse = await handler(request)
            code = response.status
            return response
        except web.HTTPException as error:
            code = error.status
            return _refuse(error.status, error.reason)
        finally:
            if request.method == "POST":
                self._metrics.requests.labels(str(code)).inc()
                self._metrics.request_seconds.observe(time.monotonic() - started)

    # -- deliveries --------------------------------------------------------------------------------------------------

    async def deliver(self, request: web.Request) -> web.Response:
        """``POST`` to any path. 202 = stored; docs/receiver.md lists the other answers and what Alertmanager does."""
        caller = self._caller(request)
        if caller is None:
            return _unauthorized()
        if (request.content_length or 0) > self._config.max_body_bytes:
            return _refuse(413, f"the body is larger than {self._config.max_body_bytes} bytes")
        try:
            found = parse_notification(await asyncio.wait_for(request.read(), BODY_TIMEOUT_S))
        except asyncio.TimeoutError:
            return _refuse(408, "the body did not arrive in time")
        except PayloadError as error:
            LOG.warning("delivery from %s refused: %s", caller.name, error)
            return _refuse(error.status, str(error))
        if found.truncated:
            self._metrics.truncated.inc(found.truncated)
            LOG.error("Alertmanager cut %d alert(s) off; set max_alerts: 0 in its receiver", found.truncated)
        return await self._accept(caller, found)

    async def _accept(self, caller: Caller, found: Notification) -> web.Response:
        known = await self._run(self._groups.refresh)
        wanted, left_out = [], {"unknown": set(), "forbidden": set(), "disabled": set()}
        for alert in found.alerts:
            if alert.group not in known:
                left_out["unknown"].add(alert.group)
            elif not caller.may(alert.group):
                left_out["forbidden"].add(alert.group)
            elif not known[alert.group]:
                left_out["disabled"].add(alert.group)
            else:
                wanted.append(alert)
        answer: dict[str, t.Any] = {name: sorted(map(plain, names))[:20] for name, names in left_out.items() if names}
        if found.unaddressed:
            answer["unaddressed"] = found.unaddressed
        if wanted:
            try:
                counts = await self._store(functools.partial(self._queue.accept_alerts, wanted))
            except (AutoscaleError, LedgerBusy) as error:
                self._metrics.ledger_errors.labels("receiver").inc()
                LOG.error("delivery from %s not stored: %s", caller.name, error)
                return _refuse(503, "the ledger cannot be written now; send it again", retry_after=RETRY_AFTER_S)
            answer.update(counts)
            self._count(counts)
            if counts["set"]:
                self._wake()
        for name, names in left_out.items():
            self._metrics.alerts.labels(name).inc(sum(alert.group in names for alert in found.alerts))
        self._metrics.alerts.labels("unaddressed").inc(found.unaddressed)
        if answer.keys() & {"unknown", "forbidden", "unaddressed"}:
            LOG.warning("delivery from %s: %s", caller.name, answer)
        if wanted or left_out["disabled"]:
            return web.json_response(answer, status=202)
        # Nothing of it can be used. A 4xx is not retried in a storm: Alertmanager counts a failed notification, which
        # people can see, and sends it once a group_interval; it gets through as soon as the group is declared.
        return web.json_response(answer, status=403 if left_out["forbidden"] else 400)

    def _count(self, counts: t.Mapping[str, int]) -> None:
        self._metrics.alerts.labels("accepted").inc(counts["accepted"])
        self._metrics.alerts.labels("duplicate").inc(counts["duplicates"])

    def _caller(self, request: web.Request) -> Caller | None:
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        return self._door.who(request.headers.get("Authorization", ""), peer)

    async def _store(self, call: t.Callable[[], t.Any]) -> t.Any:
        """Run a ledger call in a thread, for no longer than a caller would wait.

        A call that was given up may still be stored: the delivery that follows it is then a duplicate.
        """
        if self._in_flight >= MAX_IN_FLIGHT:
            raise LedgerBusy(f"{self._in_flight} deliveries wait for the ledger")
        self._in_flight += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        future.add_done_callback(self._landed)
        try:
            return await asyncio.wait_for(asyncio.shield(future), STORE_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise LedgerBusy(f"the ledger did not answer within {STORE_TIMEOUT_S:g} s") from None

    def _landed(self, future: asyncio.Future[t.Any]) -> None:
        self._in_flight -= 1
        if not future.cancelled():
            future.exception()  # it was logged where it was awaited, or nobody waits any more

    async def _run(self, call: t.Callable[[], t.Any]) -> t.Any:
        return await asyncio.get_running_loop().run_in_executor(None, call)

    # -- questions ---------------------------------------------------------------------------------------------------

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 while the ledger can be written and the dispatcher looks; else 503 and which of the two."""
        checked, ledger = self._health
        if time.monotonic() - checked > _HEALTH_CACHE_S or checked == 0.0:
            try:
                await self._store(self._queue.check_writable)
                ledger = "ok"
            except (AutoscaleError, LedgerBusy) as error:
                LOG.error("health: %s", error)
                ledger = "not writable"
            self._health = (time.monotonic(), ledger)
        dispatcher = "ok" if time.time() - self._last_pass() < ALIVE_S else "stopped"
        good = ledger == dispatcher == "ok"
        return web.json_response({"ledger": ledger, "dispatcher": dispatcher}, status=200 if good else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Prometheus' text format."""
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def actions(self, request: web.Request) -> web.Response:
        """What runs and what waits, as far as the caller may know of it."""
        caller = self._caller(request)
        if caller is None:
            return _unauthorized()
        try:
            groups = await self._store(self._queue.groups)
            alerts = await self._store(self._queue.recent_alerts)
        except (AutoscaleError, LedgerBusy) as error:
            LOG.error("actions: %s", error)
            return _refuse(503, "the ledger cannot be read now", retry_after=RETRY_AFTER_S)
        return web.json_response(
            {
                "groups": [_shown(work) for work in groups if caller.may(work.group)],
                "alerts": [alert for alert in alerts if caller.may(alert["group_name"])],
            }
        )

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _shown(work: GroupWork) -> dict[str, t.Any]:
    claim = work.running
    return {
        "group": work.group,
        "running": claim
        and {
            "action": claim.ident,
            "direction": claim.direction,
            "source": claim.source,
            "reason": claim.reason,
            "since": claim.since,
            "attempts": claim.attempts,
            "node": claim.node,
        },
        "waiting": {d: {"since": since, **work.reasons.get(d, {})} for d, since in work.waiting.items()},
        "cooling_until": dict(work.cooling),
        "suspended": sorted(work.suspended),
        "breaker_open_until": work.probe_at,
        "reconciled_at": work.reconciled_at,
        "locked_by": work.locked_by,
        "not_before": work.not_before,
        "failures": work.failures,
        "needs_attention": work.attention,
    }


def _refuse(status: int, text: str, *, retry_after: int | None = None) -> web.Response:
    headers = {"Retry-After": str(retry_after)} if retry_after else None
    return web.json_response({"error": text}, status=status, headers=headers)


def _unauthorized() -> web.Response:
    return web.json_response(
        {"error": "a token or a client certificate is needed"},
        status=401,
        headers={"WWW-Authenticate": 'Bearer realm="onprem.autoscale"'},
    )
