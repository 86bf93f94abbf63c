#!/usr/bin/env bash
# Install a wheel or source archive in a clean environment, away from the checkout, and try what a newcomer tries first:
#   scripts/smoke.sh dist/equiview-*.whl
# PIP_ARGUMENTS and VENV_ARGUMENTS are handed on (--no-deps and --system-site-packages where torch is there already).
set -euo pipefail
archive=$(realpath "$1")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
# shellcheck disable=SC2086  # Several arguments each.
python -m venv ${VENV_ARGUMENTS:-} venv
# shellcheck disable=SC2086
venv/bin/python -m pip install --quiet ${PIP_ARGUMENTS:-} "$archive"

version=$(venv/bin/equiview --version)
echo "$version"
case $version in
    *"(commit "*) ;;
    *) echo "no commit in it" >&2; exit 1 ;;
esac
venv/bin/equiview doctor --json >doctor.json
venv/bin/equiview render builtin:mug --views 6 --size 64 --out mug --quiet
venv/bin/equiview measure --backbone equiview/tiny --objects mug --long-side 64 --points 50 --out measured --quiet
test -s measured/report.html
venv/bin/python - <<'PYTHON'
import equiview, torch
from pathlib import Path
assert Path.cwd() in Path(equiview.__file__).parents, equiview.__file__
with torch.no_grad():
    print(tuple(equiview.load("equiview/tiny", long_side=64)(torch.rand(1, 3, 48, 64)).shape))
PYTHON
