# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.avi up|down|status|kill NAME``: a federation of the sites a and b for a person, as JSON."""

from __future__ import annotations

import argparse
import json
import sys

from ..process import LabError
from ..settings import Settings
from .spawn import Avi, join


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.avi", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "kill"])
    parser.add_argument("name", nargs="?", choices=["a", "b"], help="one site; both without it")
    parser.add_argument("--by-members", action="store_true", help="enable_config_by_members, at the first start")
    given = parser.parse_args()
    folder = (Settings.from_environment().folder / "avi").resolve()
    sites = [Avi(folder / name, name, enable_config_by_members=given.by_members) for name in ("a", "b")]
    chosen = [site for site in sites if given.name in (None, site.name)]
    try:
        if given.command == "up":
            join(sites, "a")
        for site in chosen if given.command != "status" else []:
            getattr(site, given.command)()
    except LabError as error:
        print(f"lab.avi: {error}", file=sys.stderr)
        return 1
    rows = {site.name: {"running": True, **site.row} if site.running() else {"running": False} for site in chosen}
    print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
