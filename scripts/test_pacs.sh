#!/usr/bin/env bash
# Whatever needs a real archive and real validators: installs them where it can, tests, runs the loop.
# Debian or Ubuntu, as root for the installation. What cannot be installed is skipped with its reason.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"

missing=""
command -v Orthanc >/dev/null || missing="$missing orthanc"
command -v dcmp2pgm >/dev/null || missing="$missing dcmtk"
command -v dciodvfy >/dev/null || missing="$missing dicom3tools"
if [ -n "$missing" ]; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing \
    || echo "not installed:$missing; the tests that need them are skipped" >&2
fi
"$python" -m pytest -rs tests/pacs/test_listen.py tests/output/dicom/test_dicom_output.py
if command -v Orthanc >/dev/null; then
  "$python" benchmarks/pacs_loop.py "$@"
else
  echo "the loop is skipped: Orthanc is not installed" >&2
fi
