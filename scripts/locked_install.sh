#!/usr/bin/env bash
# An environment with the very files of the lock: each dependency, and what builds the package, is compared with its SHA-256.
#
#   scripts/locked_install.sh FOLDER [--extra fast]...
#
# FOLDER is new. Run in a clone; needs Python 3.11 or newer with pip, and what pip is set up to download from.
# Without a network: PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels, where wheels/ holds the files.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:?usage: scripts/locked_install.sh FOLDER [--extra fast]...}
shift
if [[ -e $target ]]; then
  echo "error: $target: is there already. Name a new folder." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

install() { "$1/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$2"; }

python3 -m venv "$work/tools"
install "$work/tools" "$root/scripts/build_tools.txt"
"$work/tools/bin/uv" export -q --frozen --no-dev --no-emit-project --directory "$root" "$@" -o "$work/requirements.txt"
(cd "$root" && "$work/tools/bin/hatchling" build -t wheel -d "$work/wheel")

python3 -m venv "$target"
install "$target" "$work/requirements.txt"
"$target/bin/pip" install -q --disable-pip-version-check --no-deps --no-index "$work"/wheel/*.whl
"$target/bin/pip" check
"$target/bin/kellgren" --version
