#!/usr/bin/env bash
# Render the documentation of every plugin and module; a page that does not parse fails. usage: tools/docs-lint.sh VENV BUILD_DIR
set -euo pipefail
venv=$(cd "$1" && pwd) build=$2
export PATH="$venv/bin:$PATH" ANSIBLE_COLLECTIONS_PATH="$build/sanity"
cd "$build/sanity/ansible_collections/onprem/autoscale"
exec antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=all --skip-rstcheck .
