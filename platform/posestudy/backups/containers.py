"""Where a backup lies, a folder or one tar file: written whole or not at all, read without trust in its names."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from posestudy.backups.manifest import FILE, LARGEST, BackupError, Manifest, read
from posestudy.durable import commit_file, sync_folder, temporary_beside

_CHUNK = 1 << 20


class Limited:
    """At most `size` bytes of a stream, hashed as they are read: what grows behind them is not part of a backup.

    Where the stream has fewer, zero bytes take their place if `padded`: a log was cut while it was read.
    """

    def __init__(self, stream: IO[bytes], size: int, *, padded: bool = False) -> None:
        self._stream = stream
        self.remaining = size
        self._padded = padded
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes or fewer; none at the end."""
        count = self.remaining if count < 0 else min(count, self.remaining)
        data = self._stream.read(count)
        if not data and self._padded:
            data = bytes(count)
        self.remaining -= len(data)
        self.size += len(data)
        self._digest.update(data)
        return data

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._digest.hexdigest()


def pour(source: Limited, path: Path) -> None:
    """Write all of `source` to a new file that is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())


class Sink(ABC):
    """A backup that is being written, in a working folder beside the place it will have."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.work = temporary_beside(place)
        self.work.mkdir()

    @abstractmethod
    def put(self, name: str, source: Limited) -> None:
        """Add a file of exactly as many bytes as `source` was given."""

    @abstractmethod
    def finish(self) -> None:
        """Give the backup its name; an earlier one is replaced."""

    def discard(self) -> None:
        """Remove what is left of the working folder."""
        shutil.rmtree(self.work, ignore_errors=True)


class FolderSink(Sink):
    """A backup that becomes a folder of plain files."""

    def put(self, name: str, source: Limited) -> None:
        pour(source, self.work / name)

    def finish(self) -> None:
        for folder, _, _ in os.walk(self.work):
            sync_folder(Path(folder))
        earlier = None
        if self.place.exists():
            earlier = temporary_beside(self.place)
            self.place.rename(earlier)
        self.work.rename(self.place)
        sync_folder(self.place.parent)
        if earlier is not None:
            shutil.rmtree(earlier, ignore_errors=True)


class TarSink(Sink):
    """A backup that becomes one tar file."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._file = self.work / "backup.tar"
        self._tar = tarfile.open(self._file, "x", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - open until `finish`

    def put(self, name: str, source: Limited) -> None:
        member = tarfile.TarInfo(name)
        member.size = source.remaining
        member.mode = 0o644
        self._tar.addfile(member, source)

    def finish(self) -> None:
        self._tar.close()
        commit_file(self._file, self.place)
        self.discard()

    def discard(self) -> None:
        with suppress(OSError):
            self._tar.close()
        super().discard()


def sink(place: Path) -> Sink:
    """A tar file where the name ends in `.tar`, else a folder."""
    return TarSink(place) if place.suffix == ".tar" else FolderSink(place)


class Source(ABC):
    """A finished backup."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def manifest(self) -> Manifest:
        """Raises BackupError where it is damaged or there is none."""
        try:
            with self.open(FILE) as stream:
                return read(stream.read(LARGEST), str(self.place))
        except (OSError, tarfile.TarError, EOFError) as error:
            raise BackupError(f"{self.place} is not a backup: it has no {FILE} that can be read") from error

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A plain file of the backup.

        Raises:
            FileNotFoundError: there is none of that name, or it is a link, a device or a folder.
        """


class FolderSource(Source):
    """A backup in a folder."""

    def open(self, name: str) -> IO[bytes]:
        path = self.place / name
        inside = path.resolve() == self.place.resolve() / name
        if not inside or not path.is_file():
            raise FileNotFoundError(f"{path} is not a plain file of the backup")
        return path.open("rb")


class TarSource(Source):
    """A backup in a tar file. Nothing is unpacked by the names in it: a caller asks for those it expects."""

    def __init__(self, place: Path, tar: tarfile.TarFile) -> None:
        super().__init__(place)
        self._tar = tar
        self._members = {member.name: member for member in tar.getmembers()}

    def open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        stream = self._tar.extractfile(member) if member is not None and member.isreg() else None
        if stream is None:
            raise FileNotFoundError(f"{name} is not a plain file of {self.place}")
        return stream


@contextmanager
def source(place: Path) -> Iterator[Source]:
    """The backup at `place`.

    Raises:
        BackupError: there is none.
    """
    if place.is_dir():
        yield FolderSource(place)
        return
    if not place.is_file():
        raise BackupError(f"there is no backup at {place}; expected a folder or a .tar file of `posestudy backup`")
    try:
        with tarfile.open(place, "r:") as tar:
            found = TarSource(place, tar)
            yield found
    except tarfile.TarError as error:
        raise BackupError(f"{place} is not a tar file that can be read: {error}") from error
