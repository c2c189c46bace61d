# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.KIND COMMAND NAME``: an emulator for a person, as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .build import BuildError
from .emulated import Emulated
from .process import LabError
from .settings import Settings

COMMANDS = ("up", "down", "status", "remove")


def command_line(kind: type[Emulated], about: str | None) -> argparse.ArgumentParser:
    """Command and name; a kind may add options of its own."""
    parser = argparse.ArgumentParser(prog=f"lab.{kind.KIND}", description=about)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("name", help="each has its own address, users and data")
    return parser


def folder_of(kind: type[Emulated], name: str) -> Path:
    """Where the one of that name is kept."""
    return (Settings.from_environment().folder / kind.KIND / name).resolve()


def obey(emulated: Emulated, command: str) -> int:
    """Do it and print how it is reached; the exit status."""
    try:
        if command != "status":
            getattr(emulated, command)()
        running = emulated.running()
        print(json.dumps({"running": running, **(emulated.row if running else {})}, indent=2))
    except (LabError, BuildError) as error:
        print(f"lab.{emulated.KIND}: {error}", file=sys.stderr)
        return 1
    return 0
