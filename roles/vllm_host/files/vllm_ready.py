# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until the canary is green: ``python vllm_ready.py URL UNIT SECONDS``.

Exit code 0: it is; 1: the unit dies; 75: not yet.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request

#: Starts after a death that are given a chance, as a worker may lose a race for memory with the one before it.
RESTARTS = 2
#: What vLLM ends with when it does not understand its options: the next start would not either.
USAGE = "2"


def ready(url: str) -> tuple:
    """``(yes, what it says)``; no proxy of the environment is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return True, response.read(1000).decode().strip()
    except urllib.error.HTTPError as error:
        return False, error.read(1000).decode().strip()
    except OSError as error:
        return False, f"the canary does not answer: {error}"


def dead(unit: str) -> str:
    """Why nothing more can be expected; empty while it can."""
    names = "--property=ActiveState,SubState,NRestarts,Result,ExecMainStatus"
    said = subprocess.run(["systemctl", "show", unit, names], capture_output=True, check=True, text=True).stdout
    shown = dict(line.split("=", 1) for line in said.splitlines())
    if shown["ActiveState"] in ("failed", "inactive"):
        return f"it is {shown['ActiveState']} ({shown['Result']})"
    if shown["SubState"] == "auto-restart" and shown["ExecMainStatus"] == USAGE:
        return "it does not understand its options"
    return f"it ended and was started again {shown['NRestarts']} times" if int(shown["NRestarts"]) > RESTARTS else ""


def main() -> int:
    url, unit, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    end = time.monotonic() + seconds
    while True:
        yes, said = ready(url)
        if yes:
            return 0
        why = dead(unit)
        if why or time.monotonic() > end:
            print(f"{why}; {said}" if why else said)
            return 1 if why else 75
        time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main())
