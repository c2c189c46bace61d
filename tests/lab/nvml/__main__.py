# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.nvml build DEST`` compiles the library to a file or into a folder and prints its path."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..process import LabError
from . import build


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.nvml", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("dest", type=Path)
    try:
        print(build(parser.parse_args().dest))
    except LabError as error:
        print(f"lab.nvml: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
