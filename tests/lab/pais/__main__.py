# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.pais up|down|status|remove NAME``: a PAIS for a person, as JSON."""

from __future__ import annotations

import sys

from ..by_hand import command_line, folder_of, obey
from .spawn import Pais


def main() -> int:
    given = command_line(Pais, __doc__).parse_args()
    return obey(Pais(folder_of(Pais, given.name)), given.command)


if __name__ == "__main__":
    sys.exit(main())
