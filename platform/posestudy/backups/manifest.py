"""The list of what a backup holds, with checksums; what it names is data from outside and is judged as such."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from posestudy.errors import PoseStudyError

FILE = "manifest.json"
LEDGER = "ledger.db"
FOLDERS = ("runs", "reports")
"""Folders of a home that a backup may hold files of."""
SINGLE = ("measured.json", "profiles.json")
"""Files of a home itself that a backup may hold."""

LARGEST = 1 << 28
"""Bytes of a manifest: those of some million files."""


class BackupError(PoseStudyError):
    """A backup cannot be written or restored."""


def _inside_a_home(text: str) -> str:
    path = PurePosixPath(text)
    plain = text == path.as_posix() and "\\" not in text and "\0" not in text
    if not plain or path.is_absolute() or ".." in path.parts or path.name in ("", "."):
        raise ValueError("not a plain path inside a home")
    if (path.parts[0] not in FOLDERS or len(path.parts) < 2) and text not in SINGLE:
        raise ValueError(f"not a file of {', '.join(FOLDERS)} or {', '.join(SINGLE)}")
    return text


Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


class LedgerEntry(BaseModel):
    """The copy of the ledger: its size in bytes and its SHA-256."""

    bytes: Size
    sha256: Sha


class FileEntry(LedgerEntry):
    """One file, by its path below the home."""

    path: Annotated[str, AfterValidator(_inside_a_home)]


class Manifest(BaseModel):
    """What a backup holds.

    Attributes:
        made: when, ISO 8601 in UTC.
        posestudy, revision: the version that made it, and its ledger's schema.
        home: absolute path of the home it was made of.
        rows: of the ledger, by table.
        with_files: false for a backup of the ledger alone.
        notes: what could not be kept, as sentences.
    """

    format: Literal["posestudy-backup"] = "posestudy-backup"
    version: Literal[1] = 1
    made: str
    posestudy: str
    revision: str
    home: str
    studies: list[str]
    rows: dict[str, int]
    ledger: LedgerEntry
    with_files: bool
    files: list[FileEntry]
    notes: list[str]

    @property
    def size(self) -> int:
        """Bytes of all files, the ledger's copy included."""
        return self.ledger.bytes + sum(file.bytes for file in self.files)


def read(data: bytes, place: str) -> Manifest:
    """The manifest in `data`.

    Raises:
        BackupError: it is damaged, no manifest, or of a newer format.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BackupError(
            f"{place} is not a backup that this posestudy can read: its {FILE}, at '{where}': {first['msg']}"
        ) from error
