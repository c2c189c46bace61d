#!/usr/bin/env bash
# Print the newest Python that really runs (a shim on PATH may not), 3.11 to 3.13. PYTHON=... overrides.
set -euo pipefail
runs() { "$1" -c 'import ctypes, ensurepip, sqlite3, ssl, venv' >/dev/null 2>&1; }
if [ -n "${PYTHON:-}" ]; then
  runs "$PYTHON" || { echo "PYTHON=$PYTHON does not run, or lacks ssl, sqlite3, ctypes or venv" >&2; exit 1; }
  echo "$PYTHON"
  exit 0
fi
for version in 3.13 3.12 3.11; do
  for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3; do
    if command -v "$candidate" >/dev/null 2>&1 && runs "$candidate"; then
      command -v "$candidate"
      exit 0
    fi
  done
done
echo "No usable Python 3.11, 3.12 or 3.13 found. Install one (Debian: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3." >&2
exit 1
