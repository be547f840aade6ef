#!/usr/bin/env bash
# What a newcomer does and meets, from a fresh clone on: no traceback, no wrong exit code, no file unaccounted for.
#
#   scripts/newcomer.sh                     a clone, an environment of its own, README, tutorial, how-tos, odd places
#   scripts/newcomer.sh --quick COMMAND...  the odd places alone, by a command that is there: python -m kellgren
#
# NEWCOMER_TESTS=1 runs the README's test line too. What this machine cannot show is named as skipped.
set -uo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
WORK=$(mktemp -d)
failures=0 trials=0
trap 'cd /; umount "$WORK/disk" 2>/dev/null; chmod -R u+rwx "$WORK" 2>/dev/null; rm -rf "$WORK"' EXIT

skipped() { echo "skipped: $*"; }

wrong() {
  failures=$((failures + 1))
  echo "WRONG: $*"
  sed 's/^/    /' "$WORK/said" | tail -15
}

# try NAME CODES COMMAND...: the exit code is one of these (0,1), and there is no traceback.
try() {
  local name=$1 codes=$2 code
  shift 2
  trials=$((trials + 1))
  "$@" >"$WORK/out" 2>"$WORK/err"
  code=$?
  cat "$WORK/out" "$WORK/err" >"$WORK/said"
  if grep -aq -e Traceback -e 'Exception ignored' "$WORK/said"; then
    wrong "$name: a traceback"
  elif [[ ,$codes, != *,$code,* ]]; then
    wrong "$name: exit code $code, not $codes"
  else
    echo "fine: $name"
  fi
}

says() { grep -aqF -e "$1" "$WORK/said" || wrong "does not say: $1"; }

# --- the places -----------------------------------------------------------------------------------

odd_folder() {
  mkdir -p odd/deep/deeper odd/locked
  cp "$EXAMPLES/9511862L.png" "odd/plain 9511862L.png"
  cp "$EXAMPLES/9511862R.png" "odd/$(printf 'Kni\303\251 \344\270\255\346\226\207.png')"
  cp "$EXAMPLES/9522615L.png" "odd/$(printf 'bytes \377\376.png')"
  cp "$EXAMPLES/9866738R.png" "odd/$(printf 'two\nlines.png')"
  cp "$EXAMPLES/9103968L.png" "odd/deep/deeper/=1+1.png"
  cp "$EXAMPLES/9103968L.png" odd/locked/9103968L.png
  head -c 500 "$EXAMPLES/9103968L.png" >odd/cut.png
  : >odd/empty.png
  echo "not a film" >odd/notes.txt
  ln -s .. odd/deep/loop
  ln -s nowhere odd/dangling.png
  mkfifo odd/fifo.png
  chmod 000 odd/locked
}

# Every picture that a search can open has a row of its own, graded or with a reason.
accounted() {
  "$PYTHON" - "$1" "$2" <<'PY' >"$WORK/said" 2>&1 || wrong "files that are not accounted for"
import csv, os, sys
from pathlib import Path

folder, table = Path(sys.argv[1]), Path(sys.argv[2])
with table.open(newline="", encoding="utf-8") as stream:
    rows = list(csv.DictReader(stream))
assert all(bool(row["grade"]) != bool(row["note"]) for row in rows), "neither grade nor reason"
told = {row["image"] for row in rows}
names = [
    path.name
    for path in folder.rglob("*.png")
    if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
]
# Names with odd signs may be written in another way: they are counted.
plain = [name for name in names if name.isascii() and name.isprintable()]
missing = [name for name in plain if not any(image.endswith(name) for image in told)]
assert not missing, missing
assert len(told) >= len(names), f"{len(told)} rows of {len(names)} files"
PY
}

odd_places() {
  odd_folder
  try "an odd folder, cp1252, 40 columns, no HOME" 1 \
    env -u HOME PYTHONIOENCODING=cp1252 COLUMNS=40 \
    "${KELLGREN[@]}" grade odd --csv odd.csv --workers 1
  says "cut.png"
  says "empty.png"
  accounted odd odd.csv
  try "a file that is not there" 4 "${KELLGREN[@]}" grade nowhere.png
  says "nowhere.png"
  full_output
  interrupted
  if [ "$QUICK" = 0 ]; then
    locked_places
    full_disk
  fi
  chmod 755 odd/locked
}

full_output() {
  if [ ! -e /dev/full ]; then
    skipped "a full disk behind standard output: no /dev/full"
    return
  fi
  try "a full disk behind standard output" 5 \
    bash -c '"$@" >/dev/full' _ "${KELLGREN[@]}" grade "$EXAMPLES/9511862L.png" --csv -
  says "standard output"
}

# Ctrl-C in the middle of a batch, and the same again with --resume.
interrupted() {
  mkdir -p many
  for number in $(seq 100 "$((100 + MANY))"); do
    cp "$EXAMPLES/9511862L.png" "many/$number.png"
  done
  trials=$((trials + 1))
  set -m # so that the batch hears Ctrl-C, which a shell's background jobs ignore otherwise
  # and so it does where this script was itself started in the background
  local heard='import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])'
  "$PYTHON" -c "$heard" "${KELLGREN[@]}" grade many --csv many.csv --workers 1 >"$WORK/out" 2>"$WORK/err" &
  local batch=$! code
  while [ ! -s .many.csv.journal ] && kill -0 $batch 2>/dev/null; do sleep 0.05; done
  kill -INT $batch
  wait $batch
  code=$?
  set +m
  cat "$WORK/out" "$WORK/err" >"$WORK/said"
  if [ $code != 130 ] || grep -aq Traceback "$WORK/said"; then
    wrong "Ctrl-C: exit code $code, not 130"
  else
    echo "fine: Ctrl-C in a batch"
  fi
  says "interrupted: finished files are kept beside many.csv"
  [ -e many.csv ] && wrong "Ctrl-C left half a table"
  try "the same with --resume" 0 "${KELLGREN[@]}" grade many --csv many.csv --workers 1 --resume
  accounted many many.csv
}

# Folders that may not be read or written, and an installation that may not be written.
locked_places() {
  local as=()
  if [ "$(id -u)" = 0 ]; then
    if ! command -v setpriv >/dev/null; then
      skipped "locked folders: this is root, and there is no setpriv"
      return
    fi
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chmod 755 "$WORK" .
    mkdir -p theirs
    chmod 777 theirs
  else
    mkdir -p theirs
  fi
  if ! "${as[@]}" "${KELLGREN[@]}" --version >/dev/null 2>&1; then
    skipped "locked folders: another user cannot run the command"
    return
  fi
  chmod -R a-w "$INSTALLED"
  try "a read-only installation, a locked folder" 1 \
    env HOME="$PWD/theirs" "${as[@]}" "${KELLGREN[@]}" grade odd --csv theirs/odd.csv
  "${as[@]}" grep -qa locked theirs/odd.csv || says locked
  mkdir -p readonly
  chmod 555 readonly
  try "a table in a folder that may not be written" 5 \
    env HOME="$PWD/theirs" "${as[@]}" "${KELLGREN[@]}" grade "$EXAMPLES/9511862L.png" --csv readonly/t.csv
  says "readonly/t.csv: cannot be written"
  chmod -R u+w "$INSTALLED"
}

full_disk() {
  mkdir -p "$WORK/disk"
  if ! mount -t tmpfs -o size=64k tmpfs "$WORK/disk" 2>/dev/null; then
    skipped "a full disk: no permission to mount one"
    return
  fi
  head -c 100k /dev/zero >"$WORK/disk/fill" 2>/dev/null
  try "a table on a full disk" 5 "${KELLGREN[@]}" grade "$EXAMPLES/9511862L.png" --csv "$WORK/disk/t.csv"
  says "$WORK/disk/t.csv: cannot be written"
  [ -e "$WORK/disk/t.csv" ] && wrong "half a table on a full disk"
  try "pictures on a full disk" 5 "${KELLGREN[@]}" grade "$EXAMPLES/9511862L.png" --overlay "$WORK/disk/pictures"
  umount "$WORK/disk"
}

# --- the documents --------------------------------------------------------------------------------

# Every `kellgren` line of a document's shell blocks that needs no training and no server.
lines_of() {
  awk '/^ *```bash/ {inside = 1; next} /^ *```/ {inside = 0} inside && /^kellgren /' "$CLONE/$1" |
    grep -Ev ' (serve|listen|train (member|ensemble|choose|publish|verify|status|merge|pack|sizes|epochs|localiser)|bundle build)\b|--model |oof/|--html'
}

documents() {
  ln -s "$CLONE/examples" examples
  mkdir -p study kneeKL299
  cp examples/*.png study/
  cp examples/9511862R.png film.png
  cp examples/9589486L.png odd.png
  while IFS=, read -r image _ _ grade _; do
    [ "$image" = image ] && continue
    mkdir -p "kneeKL299/train/$grade"
    cp "examples/$image" "kneeKL299/train/$grade/"
  done <examples/grades.csv
  sed 's/^\([0-9]\)/examples\/\1/' examples/grades.csv >study.csv
  try "a table to compare with" 0 "${KELLGREN[@]}" grade study --csv others.csv
  local page line codes
  for page in README.md docs/tutorial.md docs/how-to/{grade-a-study,grade-whole-films,prepare-data,compare-models,read-a-study,train-a-member}.md; do
    while IFS= read -r line; do
      cp others.csv grades.csv # as a page expects it; the one before may have made another
      case $line in
        *.dcm*) codes=4 ;;         # a pattern that matches nothing here
        *'data check'*) codes=0,1 ;; # ten knees are not what was published
        *'data folds'*) codes=0,2 ;; # the extra train may be missing
        *) codes=0 ;;
      esac
      case $line in *'data index'*) rm -f knees.csv ;; esac # of the page before: never overwritten
      try "$page: $line" "$codes" bash -c "${line/#kellgren/"${KELLGREN[*]@Q}"}"
      [ -s "$WORK/said" ] || [[ $line == *'> '* ]] || wrong "$page: says nothing"
    done < <(lines_of "$page")
  done
  try "docs/how-to/use-from-python.md, its first block" 0 bash -c \
    "awk '/^\`\`\`python\$/ {inside = 1; next} /^\`\`\`/ {if (inside) exit} inside' '$CLONE/docs/how-to/use-from-python.md' | '$PYTHON' -"
}

fresh_clone() {
  CLONE=$WORK/clone
  git clone -q "$ROOT" "$CLONE" || exit 1
  cd "$CLONE" || exit 1
  local line
  line=$(grep -m1 '^python3 -m venv .*kellgren grade' README.md)
  try "README: grade" 0 bash -c "$line"
  says "10 knees"
  if [ "${NEWCOMER_TESTS:-0}" = 1 ]; then
    try "README: all tests" 0 bash -c "$(grep -m1 '^python3 -m venv .*pytest' README.md)"
  fi
  KELLGREN=("$CLONE/.venv/bin/kellgren")
  PYTHON=$CLONE/.venv/bin/python
  INSTALLED=$CLONE/.venv
  EXAMPLES=$CLONE/examples
  try "kellgren doctor" 0 "${KELLGREN[@]}" doctor
}

QUICK=0 MANY=60
if [ "${1:-}" = --quick ]; then
  shift
  QUICK=1 MANY=20
  KELLGREN=("$@")
  PYTHON=$1
  EXAMPLES=$ROOT/examples
  mkdir "$WORK/place" && cd "$WORK/place" || exit 1
  odd_places
else
  fresh_clone
  mkdir "$WORK/documents" && cd "$WORK/documents" || exit 1
  documents
  mkdir "$WORK/place" && cd "$WORK/place" || exit 1
  odd_places
fi
echo "$trials trials, $failures wrong"
[ $failures = 0 ]
