# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.faults --config FILE``: the fault proxy in the foreground; ends on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from .proxy import Proxy


async def serve(config: Path) -> None:
    task = asyncio.ensure_future(Proxy(json.loads(config.read_text())).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.faults", description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="JSON: control, listeners, cert, key, ca, ready_file"
    )
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments.config))
    except (OSError, ValueError, KeyError) as error:
        print(f"lab.faults: {arguments.config}: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
