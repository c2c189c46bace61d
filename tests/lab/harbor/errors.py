# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals, as Harbor words them."""

from __future__ import annotations

import json

from aiohttp import web

STATUSES = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "PRECONDITION": 412,
    "UNKNOWN": 500,
}


class HarborError(Exception):
    """Becomes ``{"errors": [{"code", "message"}]}``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def response(self) -> web.Response:
        text = json.dumps({"errors": [{"code": self.code, "message": str(self)}]})
        headers = {"WWW-Authenticate": 'Basic realm="harbor"'} if self.code == "UNAUTHORIZED" else {}
        return web.Response(text=text, status=STATUSES[self.code], content_type="application/json", headers=headers)


def bad(message: str) -> HarborError:
    return HarborError("BAD_REQUEST", message)


def missing(message: str) -> HarborError:
    return HarborError("NOT_FOUND", message)
