"""Initial weights that lie on a server, fetched once before the first trial, into the folder torch looks in."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from posestudy.durable import commit_file, sha256_file, temporary_beside
from posestudy.errors import MissingPieceError, PoseStudyError, nearest
from posestudy.masking import masked
from posestudy_runner.weight_files import EXPECTED, stranger
from posestudy_studies import addresses, model_file
from posestudy_studies.spec import Study

Say = Callable[[str], None]
TIMEOUT_S = 60.0
"""Longest silence of a server."""
MOST_BYTES = 20_000_000_000
"""More than any network of pose estimation has: a server that sends on and on must not fill the disk."""
_HASH = re.compile(r"-([0-9a-f]{8,64})(?:_\d{8})?\.\w+$")
"""The first digits of a file's SHA-256 in its name, as torch and OpenMMLab publish weights."""
_LISTS = {"torchvision": "torchvision_0.12.json", "mmcls": "mmcls.json", "open-mmlab": "openmmlab.json"}
"""Where MMEngine keeps the addresses behind names such as torchvision://resnet50."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to other https addresses only: not to a plain one, and not to a file of this machine."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """As urllib's. Raises URLError where `newurl` is refused."""
        onward = addresses.is_fetched(newurl) and (newurl.startswith("https:") or req.full_url.startswith("http:"))
        if not onward:
            raise urllib.error.URLError(f"its server refers to {masked(newurl)}; expected an https:// address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Redirects)


def _copy(answer: Any, file: Any) -> None:
    done = 0
    while block := answer.read(1 << 20):
        done += len(block)
        if done > MOST_BYTES:
            raise OSError(f"more than {MOST_BYTES / 1e9:g} GB came")
        file.write(block)


def fetch(study: Study, say: Say) -> None:
    """Make sure that every initial weight of `study` is on this machine; download what is missing.

    Raises:
        PoseStudyError: a name is unknown, a file is damaged, or cannot be fetched, as without a network; the message
            says which file to put where.
    """
    for init in initial_weights(study):
        url = address(init)
        if url is not None:
            _present(init, url, say)
        elif init != "none" and (kind := stranger(init)):
            raise PoseStudyError(f"the weights {init} are none: the file is {kind}; {EXPECTED}")


def initial_weights(study: Study) -> tuple[str, ...]:
    """Every `init` of the study's baseline and levels, and what the model files of a study without one start from."""
    document = study.model_dump(mode="json")
    parts = [document["baseline"], document["stages"]]
    found = [text for part in parts for text in _under(part, "init")]
    if study.baseline.init is None:
        found += [text for part in parts for path in _under(part, "config") for text in _of_file(path)]
    return tuple(dict.fromkeys(found))


def _under(value: Any, key: str, *, inside: bool = False) -> Iterator[str]:
    """Every text that stands at a factor called `key`, alone, in a list of levels or among choices."""
    if isinstance(value, str) and inside:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _under(item, key, inside=inside)
    elif isinstance(value, dict):
        for name, item in value.items():
            here = name.rpartition(".")[2] == key or (inside and name in ("choices", "levels"))
            yield from _under(item, key, inside=here)


def _of_file(path: str) -> Iterator[str]:
    if Path(path).is_file():
        yield from _checkpoints(model_file.parsed(path)["model"])


def _checkpoints(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("type") == "Pretrained" and isinstance(value.get("checkpoint"), str):
            yield value["checkpoint"]
        for item in value.values():
            yield from _checkpoints(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _checkpoints(item)


def address(init: str) -> str | None:
    """The URL behind `init`; None for a file.

    Raises:
        PoseStudyError: `torchvision://NAME` and the like with a name nobody has published, naming the nearest.
    """
    scheme, separator, name = init.partition("://")
    if not separator:
        return None
    wrong = addresses.mistake(init)
    if wrong is not None:
        found, expected, hint = wrong
        raise PoseStudyError(f"init {found} cannot be fetched; expected {expected}" + (f" ({hint})" if hint else ""))
    if scheme in ("http", "https"):
        return init
    scheme = {"modelzoo": "torchvision", "openmmlab": "open-mmlab"}.get(scheme, scheme)
    known = _published(scheme)
    if name not in known and scheme == "torchvision":
        known = _newer_torchvision()
    if name not in known:
        hint = nearest(name, known)
        raise PoseStudyError(f"init {init} is not known; expected a name of {scheme}" + (f"; {hint}" if hint else ""))
    return str(known[name])


def _published(scheme: str) -> dict[str, str]:
    # Read without importing MMEngine, and with it torch, into the process that only starts the pool.
    spec = importlib.util.find_spec("mmengine")
    if spec is None or spec.origin is None:
        raise MissingPieceError("MMEngine, which lists published weights, is not installed; run `make runtime`")
    published: dict[str, str] = json.loads((Path(spec.origin).parent / "hub" / _LISTS[scheme]).read_text("utf-8"))
    return published


def _newer_torchvision() -> dict[str, str]:
    """Names such as `resnet50.imagenet1k_v2`, which only torchvision itself knows."""
    from posestudy_runner import plugin  # isort: skip  # noqa: F401  (without it torchvision may not import)
    from mmengine.runner.checkpoint import get_torchvision_models

    known: dict[str, str] = get_torchvision_models()
    return known


def local_file(init: str) -> Path:
    """Where the weights `init` lie on this machine, once they are fetched."""
    url = address(init)
    return Path(init) if url is None else _kept(url)


def _kept(url: str) -> Path:
    return folder() / Path(urlparse(url).path).name


def folder() -> Path:
    """Where torch keeps and looks for downloaded weights."""
    return home() / "hub" / "checkpoints"


def home() -> Path:
    """torch's folder for what it fetches: `TORCH_HOME`, or what it takes in its place."""
    named = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return Path(named).expanduser()


def _present(init: str, url: str, say: Say) -> None:
    final = _kept(url)
    if final.is_file():
        _verify(final, final.name, f"; remove {final} and launch again")
        return
    say(f"fetching weights {init} to {final}")
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(final)
    try:
        with _OPENER.open(url, timeout=TIMEOUT_S) as answer, temporary.open("wb") as file:
            _copy(answer, file)
            expected = answer.headers.get("Content-Length")
        if expected is not None and temporary.stat().st_size != int(expected):
            raise http.client.IncompleteRead(b"", int(expected))
        _verify(temporary, final.name, f"; it came from {url}")
        if kind := stranger(temporary):
            raise PoseStudyError(f"the weights {init} are none: what {masked(url)} sends is {kind}; {EXPECTED}")
        commit_file(temporary, final)
    except (OSError, http.client.HTTPException) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise PoseStudyError(
            f"the weights {init} are not on this machine, and {url} cannot be fetched ({why}); expected the file "
            f"{final}: fetch it where there is a network and put it into {final.parent}"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _verify(file: Path, name: str, advice: str) -> None:
    """Raises PoseStudyError where `file` is not what the hash in `name` says; most names hold one."""
    named = _HASH.search(name)
    if named is None:
        return
    found = sha256_file(file)
    if not found.startswith(named[1]):
        raise PoseStudyError(
            f"the weights {name} are damaged: their SHA-256 starts with {found[: len(named[1])]}, expected "
            f"{named[1]}{advice}"
        )
