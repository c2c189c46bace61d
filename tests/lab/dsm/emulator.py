# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All parts of one DSM in one process (the API server and PostgreSQL are processes of their own).

``python -m lab.dsm.emulator FOLDER`` reads FOLDER/config.json and writes FOLDER/ready.json; ``spawn.py`` starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from ..kit import write_secret
from ..serving import listen, say_ready, server_tls, stop_asked
from ..tls import make_tls
from .admission import Admission
from .api import Api
from .gateway import Gateway
from .kubeapi import KubeApi
from .seed import NAMESPACE, SYSTEM, seed
from .tokens import Tokens, User

LOG = logging.getLogger("lab.dsm")
HOST = "127.0.0.1"


class Emulator:
    """One DSM in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.kube = KubeApi(folder / "kubeapi")
        users = [User(**user) for user in self.config["users"].values()]
        self.tokens = Tokens(users, self.config["token_lifetime"])
        self._tls = make_tls(folder / "tls")
        self._context = server_tls(self._tls["cert"], self._tls["key"])

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        ended = stop_asked()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self.kube.stop)
            await asyncio.to_thread(self.kube.start)
            api = await stack.enter_async_context(self.kube.api())
            await seed(api)
            admission = Admission(api, SYSTEM)
            address = await listen(stack, admission.app(), HOST, tls=self._context)
            await admission.register(address, self._tls["ca"].read_bytes())
            controller = self._controller(api)
            if controller is not None:
                task = asyncio.create_task(controller.run(), name="controller")
                task.add_done_callback(_died)
                stack.push_async_callback(_end, task, controller)
            gateway = Gateway(api, self.tokens, self._tls["ca"], NAMESPACE)
            control = await listen(stack, self._control(controller), HOST)
            # A client that goes away cancels its request to the gateway, so that the watch behind it ends too.
            gateway.url = await listen(stack, gateway.app(), HOST, self.config["port"], self._context, cancel=True)
            admin = self.config["users"]["admin"]
            token = self.tokens.login(admin["email"], admin["password"]) or ""
            write_secret(self.folder / "kubeconfig", gateway.kubeconfig(token))
            say_ready(self.folder / "ready.json", {"url": gateway.url, "control": control})
            await ended.wait()

    def _controller(self, api: Api) -> Any:
        """The one that drives PostgreSQL, one that only says so (``fake``), or none (``false``)."""
        wanted = self.config["controller"]
        if not wanted:
            return None
        if wanted == "fake":
            from .fake import Controller
        else:
            from .controller import Controller
        return Controller(api, self.folder)

    def _control(self, controller: Any) -> web.Application:
        """The lab's own port: ``POST /tokens {lifetime}`` for those to come, ``DELETE /tokens`` ends all."""
        app = web.Application()

        async def lifetime(request: web.Request) -> web.Response:
            self.tokens.lifetime = float((await request.json())["lifetime"])
            return web.json_response({"lifetime": self.tokens.lifetime})

        async def end(_request: web.Request) -> web.Response:
            self.tokens.end_all()
            return web.json_response({})

        app.router.add_post("/tokens", lifetime)
        app.router.add_delete("/tokens", end)
        if hasattr(controller, "routes"):
            app.router.add_routes(controller.routes())
        return app


async def _end(task: asyncio.Task[None], controller: Any) -> None:
    task.cancel()
    await asyncio.wait([task])
    await controller.stop()


def _died(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        LOG.error("the controller has ended", exc_info=task.exception())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(Emulator(Path(sys.argv[1])).run())
