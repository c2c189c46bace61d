# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's stand-in on the controller: notes each POST as a line of JSON, serves a metric, ends by itself.

python listener.py ADDRESS PORT FILE SECONDS
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time

METRICS = b"# TYPE onprem_autoscale_dispatcher_last_pass_timestamp_seconds gauge\n"
METRICS += b"onprem_autoscale_dispatcher_last_pass_timestamp_seconds %f\n"


def main(address: str, port: str, path: str, seconds: str) -> None:
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            line = {"from": self.client_address[0], "authorization": self.headers["Authorization"], "body": body}
            with lock, open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self.answer(202, b"{}")

        def do_GET(self) -> None:
            self.answer(200, METRICS % time.time())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer((address, int(port)), Handler) as server:
        threading.Timer(float(seconds), server.shutdown).start()
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
