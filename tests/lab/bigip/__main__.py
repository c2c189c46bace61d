# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.bigip``: one device until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from ..serving import say_ready, server_tls, stop_asked
from .auth import User
from .emulator import Emulator, load_config
from .errors import ApiError


def address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.bigip", description=__doc__)
    parser.add_argument("--listen", type=address, required=True, help="management port, host:port (TLS)")
    parser.add_argument("--control", type=address, required=True, help="control port, host:port (plain HTTP)")
    parser.add_argument("--cert", required=True, help="certificate chain, PEM")
    parser.add_argument("--key", required=True, help="its key, PEM")
    parser.add_argument("--password-file", type=Path, required=True, help="password of admin")
    parser.add_argument("--config", type=Path, help="JSON: partition, monitors, pools, virtuals, users, gtm")
    parser.add_argument("--name", default="bigip1.lab", help="host name of the device")
    parser.add_argument("--peer", help="control address of the other device of the pair, http://host:port")
    parser.add_argument("--role", choices=("active", "standby"), default="active", help="role at the start")
    parser.add_argument("--monitor-scale", type=float, default=1.0, help="factor on every time of the monitors")
    parser.add_argument("--dns", type=address, help="address that BIG-IP DNS answers at, host:port (UDP and TCP)")
    parser.add_argument("--gtm-peer", action="append", default=[], help="control address of one of its sync group")
    parser.add_argument("--ready-file", type=Path, help="JSON with the real addresses, written when the device serves")
    parser.add_argument("--log-level", default="INFO")
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Run the device; it starts with its configuration saved."""
    data = json.loads(options.config.read_text()) if options.config else {}
    gtm = data.get("gtm", {})
    users = [User("admin", options.password_file.read_text().strip())]
    users += [User(**user) for user in data.get("users", [])]
    emulator = Emulator(
        users,
        load_config(data),
        listen=options.listen,
        control=options.control,
        tls=server_tls(options.cert, options.key),
        name=options.name,
        role=options.role,
        peer=options.peer,
        monitor_scale=options.monitor_scale,
        dns=options.dns or (address(gtm["listen"]) if gtm.get("listen") else None),
        gtm_peers=[*options.gtm_peer, *gtm.get("peers", [])],
    )
    done = stop_asked()
    await emulator.start()
    logging.getLogger("lab.bigip").info(
        "%s: https on %s:%s, control on %s", options.name, *emulator.rest_address, emulator.control_url
    )
    if options.ready_file:
        host, port = emulator.rest_address
        vips = {row["name"]: row["listening"] for row in emulator.state()["virtuals"]}
        ready = {"hostname": host, "port": port, "control": emulator.control_url, "virtuals": vips}
        ready["dns"] = emulator.dns.address if emulator.dns else None
        say_ready(options.ready_file, ready)
    await done.wait()
    await emulator.stop()


def main() -> int:
    options = parse(sys.argv[1:])
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        asyncio.run(serve(options))
    except (ApiError, OSError, ValueError, TypeError) as exc:
        sys.stderr.write(f"lab.bigip: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
