"""Whether MLflow's server can be reached and lets this user in, asked in a second and without importing MLflow."""

from __future__ import annotations

import base64
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from posestudy.settings import masked, mlflow_password

_PATIENCE_S = 10.0
_LONGEST_VERSION = 40


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows to no other address: the password would go along."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True)
class Standing:
    """How a server answered: whether it can be used, and a sentence that says why not or which version it is."""

    usable: bool
    sentence: str
    version: str = ""


def is_server(uri: str) -> bool:
    """Whether `uri` is the address of a server, not of a database."""
    return uri.startswith(("http://", "https://"))


def ask(uri: str) -> Standing:
    """What the MLflow server at `uri` says to the user of the environment (`MLFLOW_TRACKING_USERNAME` and the like).

    Raises:
        PoseStudyError: the file with the password cannot be used.
    """
    shown = masked(uri)
    try:
        parts = urllib.parse.urlsplit(uri)
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        request = urllib.request.Request(f"{place}/version", headers=_authorization(parts))  # noqa: S310 - http(s)
        with urllib.request.build_opener(_Stay).open(request, timeout=_PATIENCE_S) as answer:
            version = answer.read(_LONGEST_VERSION).decode("ascii", "replace").strip()
    except urllib.error.HTTPError as error:
        return Standing(False, f"{shown}: {_refusal(error.code)}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return Standing(False, f"{shown} does not answer: {reason}")
    return Standing(True, f"{shown}: {version}", version)


def _authorization(parts: urllib.parse.SplitResult) -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    name = os.environ.get("MLFLOW_TRACKING_USERNAME") or urllib.parse.unquote(parts.username or "")
    password = mlflow_password() or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    password = password or urllib.parse.unquote(parts.password or "")
    if name and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode("ascii")}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refusal(status: int) -> str:
    if status == 401:
        return "it asks for a user name and password, and those given are not right"
    if status == 403:
        return "it answers neither to this name of its machine nor to this user (see its MLFLOW_SERVER_ALLOWED_HOSTS)"
    return f"it answers with HTTP status {status}; expected an MLflow server"
