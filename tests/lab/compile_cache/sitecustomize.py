# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled code of modules in zip files is kept, by the digest of its source.

Ansible sends its modules as zip files, whose code Python compiles at each run: a third of what a task costs on two
cores. Python imports this file at its start, on the lab's hosts and, by PYTHONPATH, where tests start playbooks.
Nothing that is measured for people runs with it.
"""

import hashlib
import marshal
import os
import sys
import zipimport

FOLDER = os.environ.get("LAB_COMPILE_CACHE", "/var/cache/lab-python")
compile_source = zipimport._compile_source


def cached(pathname, source):
    """Who cannot write there compiles as ever."""
    name = f"{FOLDER}/{sys.hexversion:x}-{hashlib.sha1(source).hexdigest()}"
    try:
        with open(name, "rb") as file:
            return marshal.load(file)
    except (OSError, EOFError, ValueError):
        pass
    code = compile_source(pathname, source)
    fresh = f"{name}.{os.getpid()}"
    try:
        os.makedirs(FOLDER, exist_ok=True)
        with open(fresh, "wb") as file:
            marshal.dump(code, file)
        os.replace(fresh, name)
    except OSError:
        pass
    return code


zipimport._compile_source = cached
