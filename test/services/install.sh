#!/usr/bin/env bash
# Installs what the tests use beside Go, on Debian and its like: servers and interpreters by apt, AWS clients and
# emulators by pip and npm, versitygw by go install. It starts nothing, and may be run again.
set -euo pipefail
cd "$(dirname "$0")/../.."

have() { command -v "$1" >/dev/null 2>&1; }

packages=()
have python3 || packages+=(python3 python3-pip)
have node || packages+=(nodejs)
have npm || packages+=(npm)
have redis-server || packages+=(redis-server)
have nats-server || packages+=(nats-server)
have curl || packages+=(curl)
# Debian's is a 2.x, which speaks SQS's older protocol; pip's, below, is a 1.x. Both call themselves aws.
[[ -x /usr/bin/aws ]] || packages+=(awscli)
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

if ! python3 -c 'import boto3, awscli, moto, flask' 2>/dev/null || ! have moto_server; then
  wanted=(boto3 awscli 'moto[server]==5.2.1')
  python3 -m pip install -q "${wanted[@]}" || python3 -m pip install -q --break-system-packages "${wanted[@]}"
fi

# The lock file pins what is installed; the copy beside it tells that it is.
npm=bin/tools/npm
if ! cmp -s test/services/npm/package-lock.json "$npm/installed.json"; then
  mkdir -p "$npm"
  cp test/services/npm/package.json test/services/npm/package-lock.json "$npm/"
  npm ci --prefix "$npm" --no-audit --no-fund --ignore-scripts --loglevel=error
  cp test/services/npm/package-lock.json "$npm/installed.json"
fi

if [[ ! -x bin/tools/versitygw ]]; then
  GOBIN="$PWD/bin/tools" go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
fi
