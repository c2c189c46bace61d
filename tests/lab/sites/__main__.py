# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.sites up|down|status|kill SITE|start SITE``: two sites on loopback, by one command."""

from __future__ import annotations

import argparse
import sys

from ..build import BuildError
from ..process import LabError
from .sites import Sites


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.sites", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "remove", "status", "kill", "start", "fresh", "again"])
    parser.add_argument("site", nargs="?", default="")
    given = parser.parse_args()
    try:
        lab = Sites()
        if given.command in ("fresh", "again"):  # a site alone, by `up` and `start`
            lab.start_here(given.site, fresh=given.command == "fresh")
        elif given.command == "kill":
            print(f"site {given.site}: {lab.kill(given.site)} processes killed")
        elif given.command == "start":
            lab.start(given.site)
        elif given.command == "status":
            rows = lab.status()
            for row in rows:
                print(f"{row['name']:<10} {row['processes'] or 'no':>4} processes  {row['log']}")
            return 0 if all(row["processes"] for row in rows) else 3
        else:
            getattr(lab, given.command)()
    except (LabError, BuildError, ValueError) as error:
        print(f"lab.sites: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
