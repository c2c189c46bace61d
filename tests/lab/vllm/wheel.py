# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the stub as a wheel with the command ``vllm``: the same bytes from the same files.

``python -m lab.vllm.wheel FOLDER`` prints its path and its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

from . import VERSION

HERE = Path(__file__).resolve().parent
INFO = f"vllm-{VERSION}.dist-info"
STAMP = (2020, 1, 1, 0, 0, 0)


def write(folder: Path) -> tuple[Path, str]:
    """The wheel's path and its SHA-256."""
    files = {f"vllm/{path.name}": path.read_bytes() for path in sorted(HERE.glob("*.py")) if path.name != "wheel.py"}
    files[f"{INFO}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n"
        "Summary: a stub of vLLM for tests\nRequires-Python: >=3.11\n"
    ).encode()
    files[f"{INFO}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: onprem.autoscale\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{INFO}/entry_points.txt"] = b"[console_scripts]\nvllm = vllm.cli:main\n"
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{INFO}/RECORD"] = f"{record}{INFO}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"vllm-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, STAMP)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return wheel, hashlib.sha256(wheel.read_bytes()).hexdigest()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    print(*write(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
