"""No version that posestudy takes or pins has an advisory that is known here, and `make audit` says what it asked."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("audit", ROOT / "requirements" / "audit.py")
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)


def declared() -> dict[str, Version | None]:
    """The floors of pyproject.toml and of what training needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    runtime = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    lines += [line for line in runtime if line and not line.startswith("#")]
    found: dict[str, Version | None] = {}
    for requirement in map(Requirement, lines):
        name, low = canonicalize_name(requirement.name), audit.floor(requirement)
        found[name] = max((v for v in (found.get(name), low) if v), default=None)
    return found


DIRECT = ("mlflow", "torch", "pillow", "pyarrow", "scikit-learn", "pydantic", "opencv-python-headless")


def test_the_floors_exclude_every_version_with_a_known_advisory() -> None:
    floors = {name: declared()[name] for name in DIRECT}
    assert None not in floors.values()
    assert list(audit.affected(floors)) == []


def test_the_pins_exclude_them_too_and_hold_every_package_that_is_named() -> None:
    pins = audit.pins(audit.PINS.read_text(encoding="utf-8"))
    assert set(audit.known()) <= set(pins)
    assert list(audit.affected(pins)) == []


@pytest.mark.parametrize(
    ("package", "version", "advisory"),
    [
        ("mlflow", "3.10.1", "CVE-2026-4137"),
        ("torch", "2.5.1", "CVE-2025-32434"),
        ("pillow", "11.2.1", "CVE-2025-48379"),
        ("jinja2", "3.1.5", "CVE-2025-27516"),
        ("setuptools", "78.1.0", "CVE-2025-47273"),
    ],
)
def test_a_version_with_an_advisory_is_told(package: str, version: str, advisory: str) -> None:
    assert any(advisory in line for line in audit.affected({package: Version(version)}))


CLEAN = {"name": "a", "version": "1", "vulns": []}
HIT = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "stderr", "code", "said"),
    [
        ([CLEAN], "", 0, "no pinned version has a known advisory"),
        ([CLEAN, SKIPPED], "", 0, "no pinned version has a known advisory"),
        ([CLEAN, HIT], "", 1, "b 2: PYSEC-1; mended in 3"),
        ([SKIPPED, SKIPPED], "", 0, "cannot be asked (Dependency not found on PyPI)"),
        (None, "requests.exceptions.ConnectionError: no route", 0, "cannot be asked"),
    ],
)
def test_the_audit_fails_on_advisories_alone(packages, stderr, code, said, monkeypatch, capsys) -> None:
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=answer, stderr=stderr))
    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_an_audit_that_does_not_work_is_no_success(monkeypatch) -> None:
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="", stderr="No module named pip_audit")
    )
    with pytest.raises(SystemExit, match="pip-audit does not work: No module named pip_audit"):
        audit.main()


def test_a_pin_with_an_advisory_fails_it_without_a_network(monkeypatch, tmp_path, capsys) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("MLflow==3.10.1\n", encoding="utf-8")
    monkeypatch.setattr(audit, "PINS", pins)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="", stderr="ConnectionError"))
    assert audit.main() == 1
    assert "mlflow 3.10.1: CVE-2026-2651, CVE-2026-4137; mended in 3.11.0" in capsys.readouterr().out
