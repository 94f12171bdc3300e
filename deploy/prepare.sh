#!/bin/sh
# Makes what docker-compose.yml expects beside itself and git ignores: random passwords in secrets/, the user that the
# services run as in .env, and the folders data/ and out/. What is there already stays as it is.
set -eu
cd "$(dirname "$0")/.."

owner="$(id -u):$(id -g)"
# PostgreSQL refuses root; 1000 is the user of the image.
if [ "$(id -u)" = 0 ]; then owner=1000:1000; fi

mkdir -p data out
umask 077
mkdir -p secrets
for name in postgres_password posestudy_password mlflow_database_password mlflow_password mlflow_secret_key; do
  file="secrets/$name.txt"
  if [ ! -s "$file" ]; then
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$file"
    echo "made $file"
  fi
done
chmod 700 secrets
chmod 600 secrets/*.txt
if ! grep -qs '^POSESTUDY_USER=' .env; then echo "POSESTUDY_USER=$owner" >> .env; fi
if [ "$(id -u)" = 0 ]; then chown -R 1000:1000 secrets out; fi
