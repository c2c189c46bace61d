#!/usr/bin/env bash
# ansible-lint, production profile. usage: tools/ansible-lint.sh VENV BUILD_DIR
set -euo pipefail
venv=$(cd "$1" && pwd) build=$2
export PATH="$venv/bin:$PATH" ANSIBLE_COLLECTIONS_PATH="$build/view"
exec ansible-lint --offline --profile production -q
