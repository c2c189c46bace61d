# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.pais up|down|status NAME``: a PAIS for a person, as JSON."""

from __future__ import annotations

import argparse
import json
import sys

from ..process import LabError
from ..settings import Settings
from .spawn import Pais


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.pais", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status"])
    parser.add_argument("name", help="of the PAIS; each has its own address, users and objects")
    given = parser.parse_args()
    pais = Pais((Settings.from_environment().folder / "pais" / given.name).resolve())
    try:
        if given.command == "down":
            pais.down()
        elif given.command == "up":
            pais.up()
        running = pais.running()
        print(json.dumps({"running": running, **(pais.row if running else {})}, indent=2))
    except LabError as error:
        print(f"lab.pais: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
