"""Where this machine keeps decoded images, and how much of the disk they may take."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from posestudy import given_paths
from posestudy.errors import PoseStudyError
from posestudy.home import Home

FOLDER_VARIABLE = "POSESTUDY_IMAGE_CACHE"
LIMIT_VARIABLE = "POSESTUDY_IMAGE_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0
OFF = "off"

_MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")
_NETWORK = re.compile(
    r"nfs|cifs|smb|lustre|gpfs|mmfs|beegfs|fhgfs|ceph|glusterfs|afs|9p|orangefs|pvfs2|pfs|panfs|wekafs|ocfs2|gfs2|ncpfs"
    r"|virtiofs|vboxsf|prl_fs|drvfs|fuse$|fuse\.(?!overlayfs)"
)


@dataclass(frozen=True)
class ImageCache:
    """The folder of the stores of decoded images; `folder` is None where none are kept, and `why_not` says why."""

    folder: Path | None
    limit_bytes: int
    why_not: str = ""

    @classmethod
    def resolve(cls, home: Home) -> ImageCache:
        """`cache/images` of the home, or what `POSESTUDY_IMAGE_CACHE` names; `off` there keeps no images.

        A folder on a network file system is not used: there a decoded image is slower to get than to decode, and the
        machines that share it do not see each other's locks.

        Raises:
            PoseStudyError: `POSESTUDY_IMAGE_CACHE_GB` is no number.
        """
        limit = limit_bytes()
        named = os.environ.get(FOLDER_VARIABLE, "").strip()
        if named.lower() == OFF:
            return cls(None, limit, f"{FOLDER_VARIABLE}={OFF}")
        if not limit:
            return cls(None, limit, f"{LIMIT_VARIABLE}=0")
        folder = given_paths.absolute(given_paths.expanded(named)) if named else home.decoded_images
        kind = network_file_system(folder)
        if kind:
            wanted = f"{FOLDER_VARIABLE} may name a folder on a disk of this machine"
            return cls(None, limit, f"{folder} is on a network file system ({kind}); {wanted}")
        return cls(folder, limit)


def limit_bytes() -> int:
    """What all decoded images of a folder may take, bytes: `POSESTUDY_IMAGE_CACHE_GB` x 10^9, 20 GB where it is unset.

    Raises:
        PoseStudyError: the variable is no number from 0 on.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        gigabytes = float(text or DEFAULT_LIMIT_GB)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise PoseStudyError(f"{LIMIT_VARIABLE}: found {text!r}, expected a number of gigabytes, 0 to keep no images")
    return int(gigabytes * 10**9)


def network_file_system(place: Path) -> str:
    """The type of the file system of `place`, such as `nfs4`, if other machines may hold it; else an empty string."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found, kind = Path("/"), ""
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), words[1]))
        # Of several mounts on one point the last hides the others.
        if (point == place or point in place.parents) and len(point.parts) >= len(found.parts):
            found, kind = point, words[2]
    return kind if _NETWORK.match(kind) else ""
