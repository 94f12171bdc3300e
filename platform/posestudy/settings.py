"""Which home, ledger and MLflow store a command works on, from its options and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from posestudy import masking
from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.secret_files import read_secret

MLFLOW_PASSWORD_FILE = "MLFLOW_TRACKING_PASSWORD_FILE"  # noqa: S105  the name of a variable
DATABASE_PASSWORD_FILE = "POSESTUDY_DATABASE_PASSWORD_FILE"  # noqa: S105  the name of a variable


@dataclass(frozen=True)
class Settings:
    """Resolved places. URLs may hold a password: print them with `masked`, never as they are."""

    home: Home
    database_url: str = field(repr=False)
    mlflow_uri: str = field(repr=False)
    optuna_url: str = field(repr=False)

    @classmethod
    def resolve(cls, home: str | None = None) -> Settings:
        """`home` beats `POSESTUDY_HOME`; `POSESTUDY_DATABASE_URL` and `MLFLOW_TRACKING_URI` point elsewhere.

        With a PostgreSQL ledger, Optuna's tables are kept beside it in the same database. Its password may lie in the
        file that `POSESTUDY_DATABASE_PASSWORD_FILE` names, which beats one in the URL.

        Raises:
            PoseStudyError: a password file cannot be used, or nothing is there that it could be the password of.
        """
        place = Home.resolve(home)
        database_url = os.environ.get("POSESTUDY_DATABASE_URL") or f"sqlite:///{place.database}"
        if database_url.startswith(("postgres://", "postgresql://")):
            database_url = "postgresql+psycopg://" + database_url.split("://", 1)[1]
        database_url = with_password(database_url)
        # Asked here so that a file that is missing is told of before hours of training, not after.
        mlflow_password()
        mlflow_uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{place.mlflow_database}"
        optuna_url = f"sqlite:///{place.optuna_database}" if database_url.startswith("sqlite") else database_url
        return cls(place, database_url, mlflow_uri, optuna_url)


def with_password(url: str) -> str:
    """The ledger's URL with its password from the file, or from libpq's `PGPASSWORD` where it has none.

    Raises:
        PoseStudyError: see `read_secret`; or the ledger is not in PostgreSQL and has no password.
    """
    from_file = read_secret(DATABASE_PASSWORD_FILE)
    if not url.startswith("postgresql"):
        if from_file is not None:
            raise PoseStudyError(
                f"{DATABASE_PASSWORD_FILE} is set, but the ledger is a file; "
                "expected POSESTUDY_DATABASE_URL=postgresql://USER@HOST/DATABASE beside it"
            )
        return url
    # Slow to import, and not needed where the ledger is a file.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return url  # the ledger refuses it with a better sentence
    password = from_file or parsed.password or os.environ.get("PGPASSWORD")
    if not password:
        return url
    # SQLAlchemy leaves a space in a password as it is, where whoever masks the URL would take it for its end.
    return parsed.set(password=password).render_as_string(hide_password=False).replace(" ", "%20")


def mlflow_password() -> str | None:
    """The password for MLflow's server from the file that `MLFLOW_TRACKING_PASSWORD_FILE` names; None without one.

    Raises:
        PoseStudyError: see `read_secret`; or `MLFLOW_TRACKING_USERNAME` does not say whose password it is.
    """
    password = read_secret(MLFLOW_PASSWORD_FILE)
    if password is not None and not os.environ.get("MLFLOW_TRACKING_USERNAME"):
        raise PoseStudyError(
            f"{MLFLOW_PASSWORD_FILE} is set, but not whose password it is: set MLFLOW_TRACKING_USERNAME"
        )
    return password


def masked(url: str) -> str:
    """`url` with its password as `***`, fit for logs and messages."""
    return masking.masked(url)
