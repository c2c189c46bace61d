# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.dsm up|down|status|remove NAME``: a DSM for a person, as JSON."""

from __future__ import annotations

import argparse
import json
import sys

from ..build import BuildError
from ..process import LabError
from ..settings import Settings
from .spawn import Dsm


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.dsm", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "remove"])
    parser.add_argument("name", help="of the DSM; each has its own users, address and databases")
    parser.add_argument("--fake", action="store_true", help="without PostgreSQL: clusters only say that they are ready")
    given = parser.parse_args()
    folder = (Settings.from_environment().folder / "dsm" / given.name).resolve()
    dsm = Dsm(folder, name=given.name, controller="fake" if given.fake else True)
    try:
        if given.command in {"down", "remove"}:
            getattr(dsm, given.command)()
            print(json.dumps({"running": False}))
        elif given.command == "up":
            print(json.dumps(dsm.up(), indent=2))
        else:
            print(json.dumps({"running": True, **dsm.row} if dsm.running() else {"running": False}, indent=2))
    except (LabError, BuildError) as error:
        print(f"lab.dsm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
