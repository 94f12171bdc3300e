#!/bin/sh
# One database and one role for the ledger, another for MLflow, which keep their schema's version in a table of the same
# name. Runs once, when the cluster is made. Neither role may enter the other's database.
set -eu
export POSESTUDY_DATABASE_PASSWORD_FILE MLFLOW_BACKEND_STORE_PASSWORD_FILE
for file in "$POSESTUDY_DATABASE_PASSWORD_FILE" "$MLFLOW_BACKEND_STORE_PASSWORD_FILE"; do
  [ -s "$file" ] || { echo "$file is missing or empty" >&2; exit 1; }
done
# psql reads the passwords by itself: as arguments, every user of the machine could read them.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set ledger_password `cat "$POSESTUDY_DATABASE_PASSWORD_FILE"`
\set mlflow_password `cat "$MLFLOW_BACKEND_STORE_PASSWORD_FILE"`
SET log_min_error_statement = panic;
CREATE ROLE posestudy LOGIN PASSWORD :'ledger_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE posestudy OWNER posestudy;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT, TEMPORARY ON DATABASE posestudy, mlflow FROM PUBLIC;
SQL
