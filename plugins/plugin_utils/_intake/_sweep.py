# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Asks Prometheus itself which alerts fire: a delivery that never came costs one period, and an old one is not believed.
"""

from __future__ import annotations

import asyncio
import ssl
import typing as t

from ...module_utils._ledger._work_rows import Alert
from ._config import Config, read_token
from ._libraries import aiohttp, tenacity
from ._payload import parse_prometheus

_TIMEOUT_S = 10.0
_MAX_ANSWER = 32 * 1024 * 1024


class SweepError(Exception):
    """Prometheus did not say what fires."""


class Sweep:
    """Reads ``/api/v1/alerts`` of ``config.prometheus_url``."""

    def __init__(self, config: Config) -> None:
        if not config.prometheus_url:
            raise ValueError("no prometheus_url")
        self._config = config
        self._url = config.prometheus_url.rstrip("/") + "/api/v1/alerts"
        self._tls = ssl.create_default_context(cafile=str(config.prometheus_ca) if config.prometheus_ca else None)

    async def firing(self) -> list[Alert]:
        """Alerts that fire now and name a group and an action.

        :raises SweepError: no answer, a refusal, or an answer that is none.
        """
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_exponential_jitter(initial=0.2, max=2),
            retry=tenacity.retry_if_exception_type((aiohttp.ClientConnectionError, asyncio.TimeoutError)),
            reraise=True,
        )
        try:
            return parse_prometheus(await retrying(self._get))
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, OSError) as error:
            raise SweepError(f"{self._config.prometheus_url} did not say what fires: {error or 'timeout'}") from error

    async def _get(self) -> t.Any:
        headers = {}
        if self._config.prometheus_token_file:
            headers["Authorization"] = f"Bearer {read_token(self._config.prometheus_token_file)}"
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), headers=headers, raise_for_status=True
            ) as session,
            session.get(self._url, ssl=self._tls, allow_redirects=False) as answer,
        ):
            if (answer.content_length or 0) > _MAX_ANSWER:
                raise ValueError("its answer is too large")
            return await answer.json()
