#!/bin/sh
# Builds the image of the Dockerfile without a container engine, by buildah, and uses the service in it as the user of the image.
# Needs root, buildah, and debootstrap where no container registry can be reached:
#   PYTHON_IMAGE=debian            the base image; this makes one out of Debian's packages; the default is Python's image
#   BUILD_OPTIONS="--volume ..."   further options of `buildah build`, for example for certificates
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
storage="--root $work/storage --runroot $work/run"
trap 'buildah $storage rm --all >/dev/null 2>&1; buildah $storage rmi --all --force >/dev/null 2>&1; rm -rf "$work"' EXIT

base=${PYTHON_IMAGE:-docker.io/library/python:3.12-slim}
if [ "$base" = debian ]; then
    packages=python3,python3-venv,ca-certificates
    debootstrap --variant=minbase --include=$packages bookworm "$work/debian" >"$work/log" || { cat "$work/log"; exit 1; }
    made=$(buildah $storage from scratch)
    buildah $storage add --quiet "$made" "$work/debian" / >/dev/null
    base=localhost/python
    buildah $storage commit --quiet --rm "$made" "$base" >/dev/null
    rm -rf "$work/debian"
fi
buildah $storage build --isolation chroot --build-arg PYTHON="$base" ${BUILD_OPTIONS:-} --tag localhost/chromaroute .

container=$(buildah $storage from localhost/chromaroute)
buildah $storage copy --quiet "$container" docs/images/before-after.jpg /picture.jpg >/dev/null
cat >"$work/check.py" <<'END'
"""Runs in the image, as its user, with the host's network."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

assert (os.getuid(), os.getcwd()) == (10001, "/data"), (os.getuid(), os.getcwd())
writable = subprocess.run(
    "find / -xdev ( -type f -o -type d ) -writable -not -path /proc/* -not -path /sys/* -not -path /dev/*".split(),
    capture_output=True, text=True,
).stdout.split()  # fmt: skip
outside = [path for path in writable if not path.startswith(("/data", "/tmp", "/var/tmp", "/run/lock"))]
assert "/data" in writable, writable
assert not outside, outside
assert not [path for path in sys.path if path and os.access(path, os.W_OK) and path != "/"], sys.path
subprocess.run(["chromaroute", "colorize", "/picture.jpg", "--out", "/data/colorized.jpg"], check=True)
assert Path("/data/colorized.jpg").stat().st_size > 10_000
server = subprocess.Popen(["chromaroute", "serve", "--port", "18765"], env=os.environ | {"CHROMAROUTE_DRAIN": "0"})
try:
    for _ in range(120):
        time.sleep(0.5)
        assert server.poll() is None, "the service has ended"
        try:
            if httpx.get("http://127.0.0.1:18765/readyz", trust_env=False).status_code == 200:
                break
        except httpx.TransportError:
            continue
    answer = httpx.post(
        "http://127.0.0.1:18765/v1/colorize", files={"file": Path("/picture.jpg").read_bytes()}, timeout=60, trust_env=False
    ).raise_for_status()
    assert answer.headers["content-type"] == "image/jpeg", answer.headers
finally:
    server.terminate()
assert server.wait(30) in (0, -15)
print(f"uid {os.getuid()}: the service is ready and colorizes; it can write only to {sorted(set(writable))[:4]} ...")
END
buildah $storage copy --quiet "$container" "$work/check.py" /check.py >/dev/null
buildah $storage run --isolation chroot "$container" -- python3 -P /check.py
