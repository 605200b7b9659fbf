#!/usr/bin/env bash
# Write the locks anew from pyproject.toml and constraints.txt: docker/locks/lock.sh (resolves only, downloads no wheel)
#
# One lock per image, with the hash of every file: an image holds what was locked or is not built. Both obey constraints.txt,
# so that the two sides of a Pipes session, and a machine that installs both, have the same versions of what they share.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset UV_FIND_LINKS UV_INDEX UV_EXTRA_INDEX_URL # a local wheel folder offers builds that PyPI has not

lock() { # lock IMAGE ARGUMENT...
  uv pip compile pyproject.toml --constraint constraints.txt --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --generate-hashes --no-annotate --no-emit-find-links --no-config --quiet --custom-compile-command docker/locks/lock.sh \
    "${@:2}" --output-file "docker/locks/$1.txt"
}

lock orchestrator --extra k8s --extra postgres --extra attest --extra sign "$@"
lock trainer --extra gpu --extra mem0 --excludes docker/locks/without-dagster.txt "$@"
