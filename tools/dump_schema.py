# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the schemas of ``docs/schemas`` from the planner's, or check that they are up to date.

    python tools/dump_schema.py [--check]

The collection must be importable as ``ansible_collections.onprem.autoscale``.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import RECOVERY_SCHEMA, SCHEMA

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "schemas"
SCHEMAS = {"scaling_group": SCHEMA, "recovery_plan": RECOVERY_SCHEMA}


def main(arguments: list[str] | None = None) -> int:
    """0 when the files are as they should be, or now are."""
    parser = argparse.ArgumentParser(description="Write the JSON Schemas of declarations.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is out of date")
    options = parser.parse_args(arguments)
    for name, schema in SCHEMAS.items():
        path = FOLDER / f"{name}.schema.json"
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if options.check:
            print(f"{path} is out of date: run tools/dump_schema.py", file=sys.stderr)
            return 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
