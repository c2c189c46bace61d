# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write ``docs/schemas/scaling_group.schema.json`` from the planner's schema, or check that it is up to date.

    python tools/dump_schema.py [--check]

The collection must be importable as ``ansible_collections.onprem.autoscale``.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import SCHEMA

PATH = pathlib.Path(__file__).resolve().parent.parent / "docs" / "schemas" / "scaling_group.schema.json"


def text() -> str:
    """The file as it should be."""
    return json.dumps(SCHEMA, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """0 when the file is as it should be, or now is."""
    parser = argparse.ArgumentParser(description="Write the scaling group's JSON Schema.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the file is out of date")
    options = parser.parse_args(arguments)
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == text():
        return 0
    if options.check:
        print(f"{PATH} is out of date: run tools/dump_schema.py", file=sys.stderr)
        return 1
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(text(), encoding="utf-8")
    print(f"wrote {PATH}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
