"""On the hosts of the lab: compiled code of modules in zip files is kept, by the digest of its source.

Ansible sends its modules as zip files, whose code Python compiles at each run; on two cores that is half of a task.
Python reads this file at its start, as sitecustomize.py.
"""

import hashlib
import marshal
import os
import sys
import zipimport

FOLDER = "/var/cache/lab-python"
compile_source = zipimport._compile_source


def cached(pathname, source):
    """Only root can write there; for others everything is as ever."""
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
