# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write both dashboards."""

from __future__ import annotations

from . import FOLDER, PAGES, render

FOLDER.mkdir(parents=True, exist_ok=True)
for name, build in PAGES.items():
    (FOLDER / name).write_text(render(build()), encoding="utf-8")
