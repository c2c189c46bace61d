# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The program: reads its configuration, opens the ledger, listens, dispatches, and goes in peace at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import typing as t

from ...module_utils._common._errors import AutoscaleError, ConflictError
from ...module_utils._ledger import Ledger
from ...module_utils._ledger._work import WorkQueue
from ._auth import server_context
from ._config import Config, ConfigError, load_config
from ._dispatcher import Dispatcher
from ._executor import LaunchError
from ._executor_runner import RunnerExecutor
from ._groups import Groups
from ._libraries import MISSING, web
from ._metrics import Metrics
from ._receiver import Receiver
from ._sweep import Sweep

LOG = logging.getLogger(__name__)
_LOCK = ".receiver.lock"


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Exit status: 0 after a stop that was asked for, 1 for a fault, 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="onprem.autoscale receiver", description=__doc__.split("\n\n")[1])
    parser.add_argument("--config", required=True, help="the YAML file; docs/receiver.md describes it")
    parser.add_argument("--check", action="store_true", help="check the configuration, then leave")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    if MISSING:
        LOG.error("the receiver needs the Python library %s; requirements.txt of the collection lists all", MISSING)
        return 1
    try:
        config = load_config(options.config)
        if options.check:
            if config.tls:
                server_context(config.tls)  # certificate and key may not fit together
            return 0
        asyncio.run(serve(config))
    except ConfigError as error:
        LOG.error("%s", error)
        return 2
    except (AutoscaleError, LaunchError, OSError) as error:
        LOG.error("%s", error)
        return 1
    return 0


async def serve(config: Config) -> None:
    """Run until SIGTERM or SIGINT. Plays that run then run on; the next start finds them again.

    :raises AutoscaleError: the ledger or TLS cannot be used, or another receiver dispatches from the same folder.
    """
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        executor = RunnerExecutor(config.executor, inventory=config.inventory)
        stack.enter_context(_only_one(executor.root / _LOCK))
        ledger = stack.enter_context(await loop.run_in_executor(None, Ledger.open, config.ledger))
        queue = WorkQueue(ledger, live_for=config.alert_max_age)
        groups, metrics = Groups(config.scaling_groups_dir), Metrics()
        sweep = Sweep(config) if config.prometheus_url else None
        dispatcher = Dispatcher(config, queue, executor, groups, metrics, sweep)
        receiver = Receiver(
            config, queue, groups, metrics, wake=dispatcher.wake, last_pass=lambda: dispatcher.last_pass
        )
        stack.callback(receiver.close)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        runner = web.AppRunner(receiver.app(), access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        try:
            site = web.TCPSite(
                runner, config.host, config.port, ssl_context=server_context(config.tls) if config.tls else None
            )
            await site.start()
            dispatching = asyncio.create_task(dispatcher.run())
            for address in runner.addresses:
                LOG.info("listening on %s:%s", *address[:2])
            await asyncio.wait({asyncio.create_task(stop.wait()), dispatching}, return_when=asyncio.FIRST_COMPLETED)
            LOG.info("stopping; running actions are left to themselves")
        finally:
            await runner.cleanup()  # answers what was accepted, accepts no more
        dispatcher.stop()
        await dispatching


@contextlib.contextmanager
def _only_one(path: t.Any) -> t.Iterator[None]:
    """One receiver a folder: two would each take the other's plays for dead."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(
                f"another receiver uses {path.parent}", remedy="Stop it, or give this one its own private_data_root"
            ) from None
        yield
