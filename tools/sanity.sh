#!/usr/bin/env bash
# Run ansible-test sanity on a copy of the tree that lies where ansible-test wants it.
# usage: tools/sanity.sh VENV BUILD_DIR [ansible-test arguments]
set -euo pipefail
venv=$(cd "$1" && pwd) build=$2
shift 2
root=$(git rev-parse --show-toplevel)
tree=$build/sanity/ansible_collections/onprem/autoscale
rm -rf "$tree" && mkdir -p "$tree"
(cd "$root" && git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do [ -e "$f" ] && printf '%s\0' "$f"; done |
  tar --null -T - -cf -) | tar -xf - -C "$tree"
cd "$tree"
git init -q . && git add -A . && git -c user.name=sanity -c user.email=sanity@localhost commit -qm tree
unset NO_COLOR PYTHONPATH
export PATH="$venv/bin:$PATH" ANSIBLE_COLLECTIONS_PATH="$build/sanity"
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# ansible-test fetches a get-pip script for its virtual environments. Where that host cannot be reached, a stand-in runs
# pip from a wheel that pip itself can download.
name=$("$venv/bin/python" - <<'P'
import pathlib, re, ansible_test
source = (pathlib.Path(list(ansible_test.__path__)[0]) / "_internal" / "python_requirements.py").read_text()
found = re.search(r"pip\s*=\s*['\"]([0-9.]+)['\"]", source)
print(found.group(1) if found else "")
P
)
if [ -n "$name" ]; then
  cache=$HOME/.ansible/test/cache/get_pip_${name//./_}.py
  url="https://ci-files.testing.ansible.com/ansible-test/get-pip-$name.py"
  if [ ! -e "$cache" ] && ! curl -fsS --max-time 15 -o /dev/null "$url" 2>/dev/null; then
    mkdir -p "$build/pip" "$(dirname "$cache")"
    "$venv/bin/python" -m pip download -q --no-deps -d "$build/pip" "pip==$name"
    wheel=$(echo "$build/pip/pip-$name-"*.whl)
    cp "$wheel" "$(dirname "$cache")/"
    cat >"$cache" <<P
import os, sys
wheel = os.path.join(os.path.dirname(os.path.abspath(__file__)), "$(basename "$wheel")")
if not os.path.exists(wheel):
    wheel = os.path.expanduser("~/.ansible/test/cache/$(basename "$wheel")")
sys.path.insert(0, wheel)
from pip._internal.cli.main import main
args = [wheel if a == "pip==$name" else a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
sys.exit(main(["install", "--no-cache-dir"] + args))
P
  fi
fi
exec ansible-test sanity --python "$version" --color no "$@"
