"""Whether a pinned version has a known advisory: first by the list kept here, then by the public databases.

Ends with 1 where one has; with 0 where none has, also where the databases cannot be reached, which it says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

FOLDER = Path(__file__).parent
PINS = FOLDER / "constraints.txt"
KNOWN = FOLDER / "advisories.toml"
UNREACHABLE = ("ConnectionError", "Connection", "timed out", "Timeout", "resolve", "unreachable", "Max retries", "503")
LIMIT_S = 600


def pins(text: str) -> dict[str, Version]:
    """Name to version of the lines `name==version`."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {canonicalize_name(name): Version(version) for name, _, version in pairs}


def floor(requirement: Requirement) -> Version | None:
    """The lowest version a requirement takes; None where it takes any."""
    lows = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==", "~=", ">")]
    return max(lows, default=None)


def known() -> dict[str, dict[str, list[str]]]:
    """Package to {first mended version: advisory ids}."""
    return tomllib.loads(KNOWN.read_text(encoding="utf-8"))


def affected(versions: Mapping[str, Version | None]) -> Iterator[str]:
    """A sentence for each version that is older than the mended one of an advisory; None is older than any."""
    for package, mended in known().items():
        if package not in versions:
            continue
        version = versions[package]
        for below, ids in mended.items():
            if version is None or version < Version(below):
                yield f"{package} {version or 'of any version'}: {', '.join(ids)}; mended in {below}"


def asked(answer: str) -> tuple[list[str], str]:
    """The same of what pip-audit answered, JSON, and why it is worth nothing; one of the two is empty.

    Without a network pip-audit may say that there is no vulnerability, having skipped every package.
    """
    packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        return [], skipped[0] if skipped else "no package was looked at"
    return [
        f"{package['name']} {package['version']}: {one['id']}; mended in "
        + (", ".join(one.get("fix_versions") or ()) or "no version")
        for package in packages
        for one in package.get("vulns", ())
    ], ""


def public() -> tuple[list[str], str]:
    """What the public databases know of the pins, and why they could not be asked; one of the two is empty.

    Raises:
        SystemExit: pip-audit itself does not work.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer in {LIMIT_S} s"
    try:
        return asked(done.stdout)
    except (json.JSONDecodeError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        if any(word in done.stderr for word in UNREACHABLE):
            return [], said[:300]
        raise SystemExit(f"pip-audit does not work: {said}") from None


def main() -> int:
    """Print what is found; the exit code."""
    found = list(affected(pins(PINS.read_text(encoding="utf-8"))))
    more, why = public()
    for line in (*found, *more):
        print(line)
    if why:
        print(f"the public databases cannot be asked ({why}); only the list in {KNOWN.name} was")
    elif not found and not more:
        print("no pinned version has a known advisory")
    return int(bool(found or more))


if __name__ == "__main__":
    sys.exit(main())
