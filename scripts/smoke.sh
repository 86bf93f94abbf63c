#!/usr/bin/env bash
# Install a wheel or source archive in a clean environment, away from the checkout, and run the README's quick start as written:
#   scripts/smoke.sh dist/equiview-*.whl
# PIP_ARGUMENTS and VENV_ARGUMENTS are handed on (--no-deps and --system-site-packages where torch is there already); PYTHON is the interpreter.
set -euo pipefail
archive=$(realpath "$1")
checkout=$(realpath "$(dirname "$0")/..")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
# shellcheck disable=SC2086  # Several arguments each.
"${PYTHON:-python}" -m venv ${VENV_ARGUMENTS:-} venv
# shellcheck disable=SC2086
venv/bin/python -m pip install --quiet ${PIP_ARGUMENTS:-} "$archive"

version=$(venv/bin/equiview --version)
echo "$version"
case $version in
    *"(commit "*) ;;
    *) echo "no commit in it" >&2; exit 1 ;;
esac
venv/bin/equiview doctor --json >doctor.json
venv/bin/python "$checkout/scripts/code_blocks.py" "$checkout/README.md" >quick_start.sh
PATH="$place/venv/bin:$PATH" bash -euxo pipefail quick_start.sh
test -s runs/match/matches.png
test -s runs/mug/report.html
venv/bin/python - <<'PYTHON'
import equiview, torch
from pathlib import Path
assert Path.cwd() in Path(equiview.__file__).parents, equiview.__file__
with torch.no_grad():
    print(tuple(equiview.load("equiview/tiny", long_side=64)(torch.rand(1, 3, 48, 64)).shape))
PYTHON
