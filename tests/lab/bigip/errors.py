# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the device answers when it refuses, in its own codes and words."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer other than success: HTTP *status* and the *message* of the JSON body.

    Two shapes exist on the device: the configuration daemon's (``apiError``) and that of the REST framework
    (``:resterrorresponse``), which speaks when nobody is logged in or a path is not known.
    """

    def __init__(self, status: int, message: str, *, framework: bool = False, api_error: int = 3) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.framework = framework
        self.api_error = api_error

    def body(self, uri: str = "") -> dict[str, Any]:
        """The JSON body of the answer."""
        if self.framework:
            return {
                "code": self.status,
                "message": self.message,
                "referer": uri or "Unknown",
                "restOperationId": 6000000 + self.status,
                "kind": ":resterrorresponse",
            }
        return {"code": self.status, "message": self.message, "errorStack": [], "apiError": self.api_error}


def not_found(what: str, path: str) -> ApiError:
    """404 01020036 for an object that is not configured."""
    return ApiError(404, f"01020036:3: The requested {what} ({path}) was not found.")


def already_exists(what: str, path: str, partition: str) -> ApiError:
    """409 01020066 for an object that is configured already."""
    return ApiError(409, f"01020066:3: The requested {what} ({path}) already exists in partition {partition}.")


def configuration_error(message: str) -> ApiError:
    """400 01070734, the general configuration error."""
    return ApiError(400, f"01070734:3: Configuration error: {message}")


def invalid_value(name: str, value: Any) -> ApiError:
    """400 for a value that the property does not take."""
    return ApiError(400, f'invalid property value "{name}":"{value}"', api_error=26214401)


def unknown_property(name: str) -> ApiError:
    """400 for a property that the object does not have."""
    return ApiError(400, f'"{name}" : unknown property', api_error=26214401)


def missing_property(name: str) -> ApiError:
    """400 for a body that lacks what creation needs."""
    return ApiError(400, f'one or more properties must be specified: "{name}"', api_error=26214401)


def unauthorized(message: str) -> ApiError:
    """401 of the REST framework."""
    return ApiError(401, message, framework=True)


def denied(user: str, what: str) -> ApiError:
    """403 for a role that may not do it."""
    return ApiError(403, f"01070822:3: Access Denied: user ({user}) does not have {what} access.")


def unknown_path(uri: str) -> ApiError:
    """404 for a URI that nothing answers."""
    if uri.startswith("/mgmt/tm/"):
        return ApiError(404, f"Found unexpected URI tmapi_mapper/{uri.removeprefix('/mgmt/tm/')}.", api_error=1)
    return ApiError(404, f"Public URI path not registered: {uri}", framework=True)
