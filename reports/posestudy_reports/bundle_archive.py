"""A zip whose bytes follow from its files alone, and taking one apart without leaving the folder it is put into."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from posestudy.errors import PoseStudyError

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can tell."""
_PACKED = (".pth", ".pdf")
"""Endings of files that are packed already."""
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
MOST_UNPACKED = 10_000_000_000
"""Bytes of all members: a small archive can hold a full disk."""
_UNIX = 3
_MODE = 0o100644 << 16


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The archive's bytes; files in order of their names, no times of today.

    Raises:
        PoseStudyError: a name leads out of the archive or is no plain path.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(files):
            require_safe(name)
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return stream.getvalue()


def unzip(data: bytes, folder: Path) -> None:
    """Write every member below `folder`.

    Raises:
        PoseStudyError: it is no zip, or a member is absolute, leads out of it, is a link or comes twice, or all of
            them are too large; nothing is written then.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            seen: set[str] = set()
            for member in members:
                require_safe(member.filename)
                kind = member.external_attr >> 28
                # 8 is a regular file; some writers say nothing.
                if kind not in (0, 8) or member.filename.lower() in seen:
                    raise PoseStudyError(
                        f"the archive's member {member.filename!r} is no file of its own; expected one"
                    )
                seen.add(member.filename.lower())
            # zipfile gives no more of a member than it declares.
            total = sum(member.file_size for member in members)
            if total > MOST_UNPACKED:
                raise PoseStudyError(
                    f"the archive would unpack to {total / 1e9:.1f} GB; expected at most {MOST_UNPACKED / 1e9:g} GB"
                )
            for member in members:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))
    except (zipfile.BadZipFile, EOFError) as error:
        raise PoseStudyError(f"this is no whole zip archive ({error})") from error


def require_safe(name: str) -> None:
    """Raises PoseStudyError where a member's name is not a relative path of plain parts."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and all(_SAFE.fullmatch(part) for part in parts)
    if not parts or not plain:
        raise PoseStudyError(
            f"the archive would hold {name!r}; expected a relative path of letters, digits, '.', '_' and '-'"
        )
