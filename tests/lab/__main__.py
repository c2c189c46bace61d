# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab up|down|status``: the whole lab on loopback, by one command."""

from __future__ import annotations

import argparse
import sys

from .process import LabError
from .supervisor import Lab


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status"])
    arguments = parser.parse_args()
    lab = Lab()
    try:
        if arguments.command == "up":
            lab.up()
        elif arguments.command == "down":
            lab.down()
        else:
            rows = lab.status()
            for row in rows:
                print(f"{row['name']:<14} {'pid ' + str(row['pid']) if row['pid'] else 'not running':<14} {row['log']}")
            return 0 if all(row["pid"] for row in rows if row["name"] != "receiver") else 3
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
