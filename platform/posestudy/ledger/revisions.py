"""Which schemas of the ledger this posestudy knows."""

from __future__ import annotations

REVISION = "0005"
"""The newest migration this posestudy has."""

KNOWN_REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""Every migration this posestudy has, oldest first."""

VERSION_TABLE = "posestudy_version"
