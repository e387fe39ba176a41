#!/usr/bin/env bash
# Installs what the tests use beside Go, on Debian and its like: servers and interpreters by apt, AWS clients by
# pip, versitygw by go install. It starts nothing, and may be run again.
set -euo pipefail
cd "$(dirname "$0")/../.."

have() { command -v "$1" >/dev/null 2>&1; }

packages=()
have python3 || packages+=(python3 python3-pip)
have node || packages+=(nodejs)
have redis-server || packages+=(redis-server)
have nats-server || packages+=(nats-server)
have curl || packages+=(curl)
if ((${#packages[@]})); then
  # Packages of servers start them as services; the tests start their own.
  policy=/usr/sbin/policy-rc.d
  made=
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made=1
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}" || { [[ $made ]] && rm -f "$policy"; exit 1; }
  [[ -z $made ]] || rm -f "$policy"
fi

if ! python3 -c 'import boto3' 2>/dev/null || ! have aws; then
  python3 -m pip install -q boto3 awscli || python3 -m pip install -q --break-system-packages boto3 awscli
fi

if [[ ! -x bin/tools/versitygw ]]; then
  GOBIN="$PWD/bin/tools" go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
fi
