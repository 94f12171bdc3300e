"""Which home, ledger and MLflow store a command works on, from its options and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sqlalchemy.engine import make_url

from posestudy.home import Home


@dataclass(frozen=True)
class Settings:
    """Resolved places. URLs may hold a password: print them with `masked`, never as they are."""

    home: Home
    database_url: str
    mlflow_uri: str
    optuna_url: str

    @classmethod
    def resolve(cls, home: str | None = None) -> Settings:
        """`home` beats `POSESTUDY_HOME`; `POSESTUDY_DATABASE_URL` and `MLFLOW_TRACKING_URI` point elsewhere.

        With a PostgreSQL ledger, Optuna's tables are kept beside it in the same database.
        """
        place = Home.resolve(home)
        database_url = os.environ.get("POSESTUDY_DATABASE_URL") or f"sqlite:///{place.database}"
        if database_url.startswith(("postgres://", "postgresql://")):
            database_url = "postgresql+psycopg://" + database_url.split("://", 1)[1]
        mlflow_uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{place.mlflow_database}"
        optuna_url = f"sqlite:///{place.optuna_database}" if database_url.startswith("sqlite") else database_url
        return cls(place, database_url, mlflow_uri, optuna_url)


def masked(url: str) -> str:
    """`url` with its password as `***`, fit for logs and messages."""
    if "://" not in url:
        return url
    return make_url(url).render_as_string(hide_password=True)
