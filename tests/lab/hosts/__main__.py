# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.hosts`` makes, boots and removes throw-away hosts; ``--help`` lists the commands."""

from __future__ import annotations

import argparse
import sys

from . import network
from .host import KEY, Host, everyone, public_key
from .system import HostError, require
from .trees import SUITES, tree


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.hosts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="install what is missing, boot a host and remove it; fails where that cannot be")
    commands.add_parser("key", help="print the path of the SSH key")
    commands.add_parser("clear", help="remove all hosts and their network")
    commands.add_parser("tree").add_argument("suite", choices=SUITES)
    up = commands.add_parser("up", help="make and boot a host")
    up.add_argument("name")
    up.add_argument("number", type=int, help="the last of its address, 2 to 249; the address is printed")
    up.add_argument("--suite", default="bookworm", choices=SUITES)
    up.add_argument("--bind", action="append", default=[], metavar="SOURCE:TARGET", help="read-only")
    for name in ("wait", "off", "on", "down"):
        commands.add_parser(name).add_argument("name")
    arguments = parser.parse_args()
    try:
        work(arguments)
    except HostError as error:
        print(f"lab.hosts: {error}", file=sys.stderr)
        return 1
    return 0


def work(arguments: argparse.Namespace) -> None:
    match arguments.command:
        case "check":
            check()
        case "key":
            public_key()
            print(KEY)
        case "clear":
            for host in everyone():
                host.down()
            network.down()
        case "tree":
            require()
            print(tree(arguments.suite))
        case "up":
            address = f"{network.SUBNET}.{arguments.number}"
            Host(arguments.name).up(address, arguments.suite, arguments.bind)
            print(address)
        case command:
            host = Host(arguments.name)
            {"wait": host.wait_ssh, "off": host.power_off, "on": host.boot, "down": host.down}[command]()


def check() -> None:
    """One host, up and down."""
    host = Host("check")
    host.up(f"{network.SUBNET}.250")
    try:
        host.wait_ssh()
    finally:
        host.down()


if __name__ == "__main__":
    sys.exit(main())
