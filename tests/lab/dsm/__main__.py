# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.dsm up|down|status|remove NAME``: a DSM for a person, as JSON."""

from __future__ import annotations

import sys

from ..by_hand import command_line, folder_of, obey
from .spawn import Dsm


def main() -> int:
    parser = command_line(Dsm, __doc__)
    parser.add_argument("--fake", action="store_true", help="without PostgreSQL: clusters only say that they are ready")
    given = parser.parse_args()
    dsm = Dsm(folder_of(Dsm, given.name), name=given.name, controller="fake" if given.fake else True)
    return obey(dsm, given.command)


if __name__ == "__main__":
    sys.exit(main())
