# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller says when it refuses."""

from __future__ import annotations


class ApiError(Exception):
    """An answer other than success: HTTP *status*, and the text of ``{"error": text}``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def invalid(message: str) -> ApiError:
    """400 for a body that breaks a rule."""
    return ApiError(400, message)


def not_found(what: str) -> ApiError:
    """404."""
    return ApiError(404, f"{what} not found!")
