"""The Dockerfile: everything it names is in this repository and reaches the builder; nothing else does."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compose_file import ROOT, services, split_mount

build = pytest.importorskip("docker.utils.build", reason="the docker package, which reads .dockerignore, is missing")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)]


def said(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def copied() -> Iterator[tuple[str, str]]:
    """Source and target of what is copied out of this repository."""
    for rest in said("COPY"):
        *sources, target = rest.split()
        if not rest.startswith("--from="):
            for source in sources:
                yield source, target


def sent(root: Path) -> set[str]:
    """The files below `root` that the builder gets."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    found = build.exclude_paths(str(root), patterns, dockerfile="Dockerfile")
    # Docker sends these two whatever .dockerignore says, and copies them nowhere.
    return {name for name in found if (root / name).is_file()} - {"Dockerfile", ".dockerignore"}


@pytest.fixture(scope="module")
def context() -> set[str]:
    return sent(ROOT)


def test_secrets_data_and_results_never_reach_the_builder(tmp_path: Path) -> None:
    private = ["secrets/mlflow_password.txt", ".env", ".git/config", "data/cats/1.jpg", "out/report.pdf"]
    private += [".posestudy/posestudy.db", "platform/tests/test_x.py", "platform/posestudy/__pycache__/x.pyc"]
    for name in ("README.md", *private):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert sent(tmp_path) == {"README.md"}


def test_everything_copied_is_there_and_not_ignored(context: set[str]) -> None:
    sources = [source.rstrip("/") for source, _ in copied()]
    assert len(sources) >= 8
    for source in sources:
        assert (ROOT / source).exists(), source
        inside = {str(p.relative_to(ROOT)) for p in (ROOT / source).rglob("*") if p.suffix in (".py", ".typ", ".txt")}
        wanted = inside or {source}
        assert wanted <= context, f"{source}: .dockerignore keeps back {sorted(wanted - context)[:3]}"


def test_nothing_that_is_not_copied_reaches_the_builder(context: set[str]) -> None:
    sources = [source.rstrip("/") for source, _ in copied()]
    left = {name for name in context if not any(name == s or name.startswith(f"{s}/") for s in sources)}
    assert left == set()
    assert not any("__pycache__" in name or "/tests/" in name for name in context)


def test_the_package_is_built_from_all_of_its_parts(project: dict[str, Any]) -> None:
    sources = {source.rstrip("/") for source, _ in copied()}
    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*built, project["project"]["readme"], *project["project"]["license-files"]} <= sources
    for source, target in copied():
        assert target in (f"{source.rstrip('/')}/", "./"), f"{source} lies elsewhere in the image"


def test_it_installs_at_the_pinned_versions_what_make_setup_does(project: dict[str, Any]) -> None:
    runs = " && ".join(said("RUN"))
    for name in re.findall(r"--requirement (\S+)", runs):
        assert (ROOT / name).is_file()
    assert set(re.findall(r"--requirement (\S+)", runs)) == {"requirements/runtime.txt", "requirements/mm.txt"}
    assert "--no-deps --no-build-isolation --requirement requirements/mm.txt" in runs
    constraint = re.search(r"PIP_CONSTRAINT=/build/(\S+)", " ".join(said("ENV")))
    assert constraint is not None
    assert (ROOT / constraint[1]).is_file()
    assert "/build" in said("WORKDIR")
    extras = re.search(r"'\.\[([a-z,]+)\]'", runs)
    assert extras is not None
    chosen = set(extras[1].split(","))
    assert {"postgres", "server", "gpu"} <= chosen <= set(project["project"]["optional-dependencies"])
    # A compiler for xtcocotools, in the stage that is thrown away.
    stages = [place for place, (word, _) in enumerate(instructions()) if word == "FROM"]
    assert any("gcc libc6-dev" in rest for _, rest in instructions()[: stages[1]])
    assert not any("gcc" in rest for _, rest in instructions()[stages[1] :])


def test_it_runs_posestudy_as_nobody_in_particular(project: dict[str, Any]) -> None:
    assert said("USER") == [services()["mlflow"]["user"]]
    assert said("ENTRYPOINT") == ['["posestudy"]']
    assert "posestudy" in project["project"]["scripts"]
    assert said("STOPSIGNAL") == ["SIGTERM"]
    bases = [rest.split()[0] for rest in said("FROM")]
    assert set(bases) == {"python:${PYTHON}"}
    assert re.fullmatch(r"PYTHON=3\.1[12]-slim-bookworm", said("ARG")[0])


def test_places_of_volumes_can_be_written_by_the_user_that_compose_names() -> None:
    made = next(run for run in said("RUN") if "install --directory" in run)
    words = shlex.split(made)
    open_to_all = set(words[words.index("1777") + 1 :])
    environment = " ".join(said("ENV"))
    for service in services().values():
        if service["image"].startswith("posestudy:"):
            for source, target, _ in map(split_mount, service["volumes"]):
                assert source.startswith(".") or target in open_to_all, f"{target} would belong to root"
    for variable in ("POSESTUDY_HOME", "XDG_CACHE_HOME"):
        found = re.search(rf"{variable}=(\S+)", environment)
        assert found is not None
        assert found[1] in open_to_all


def test_no_password_and_no_address_of_a_registry_is_in_the_image() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "://" not in text
    for name in (ROOT / "deploy").rglob("*.sh"):
        assert not re.search(r"password\w*=['\"]?\w{6,}", Path(name).read_text(), re.IGNORECASE)
