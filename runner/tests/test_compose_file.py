"""docker-compose.yml: what the specification allows, what it opens, what it hides, and that all it names is there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from compose_file import FILE, ROOT, compose, interpolate, services, split_mount

from posestudy.commands.app import _commands
from posestudy_runner.context import PoolOptions

WORKERS = ("worker-cpu", "worker-gpu")


def seconds(text: str) -> float:
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert found, text
    return 60 * int(found[1] or 0) + int(found[2] or 0)


def each_service() -> list[Any]:
    return [pytest.param(name, service, id=name) for name, service in services().items()]


def test_the_variables_of_a_compose_file_are_put_in_as_the_specification_says() -> None:
    known = {"A": "a", "EMPTY": ""}
    assert interpolate("${A} $A $$A ${A:-x} ${EMPTY:-x} ${NONE:-1:2}", known) == "a a $A a x 1:2"
    assert interpolate("h${A:+,${A}}${EMPTY:+,no}${NONE:-${A}}", known) == "h,aa"


def test_it_is_valid_by_the_schema_of_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version" not in compose()


def test_the_plugin_that_would_run_it_accepts_it(tmp_path: Path) -> None:
    if not shutil.which("docker"):
        pytest.skip("docker is not installed")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker is installed without its compose plugin")
    command = ["docker", "compose", "-f", str(FILE), "--profile", "*", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_port_is_published_on_loopback_unless_one_variable_says_otherwise() -> None:
    def published(environment: dict[str, str]) -> dict[str, str]:
        ports = [port for service in services(environment).values() for port in service.get("ports", ())]
        assert all(isinstance(port, str) for port in ports)
        return {port.rpartition(":")[2]: port.rsplit(":", 2)[0] for port in ports}

    assert published({}) == {"5432": "127.0.0.1", "5000": "127.0.0.1"}
    assert published({"POSESTUDY_BIND": "10.0.0.7"}) == {"5432": "10.0.0.7", "5000": "10.0.0.7"}
    for service in services().values():
        assert "network_mode" not in service
        assert not service.get("privileged")


def test_mlflow_answers_to_the_names_it_is_reached_by_and_to_no_other() -> None:
    def allowed(environment: dict[str, str]) -> list[str]:
        return services(environment)["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")

    assert allowed({}) == ["mlflow:5000", "localhost:5000", "127.0.0.1:5000"]
    further = {"POSESTUDY_HOSTS": "mlflow.lab:443", "POSESTUDY_MLFLOW_PORT": "5001"}
    assert allowed(further) == ["mlflow:5000", "localhost:5001", "127.0.0.1:5001", "mlflow.lab:443"]
    proxied = services({"POSESTUDY_ORIGINS": "https://mlflow.lab"})["mlflow"]["environment"]
    origins = proxied["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert origins == ["http://localhost:5000", "http://127.0.0.1:5000", "https://mlflow.lab"]


def test_no_secret_stands_in_it_and_every_password_comes_from_a_file() -> None:
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN", variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                secret = value.removeprefix("/run/secrets/")
                assert secret in service["secrets"], f"{name}: {variable} names a secret it does not get"
            assert not re.search(r"://[^/@]*:[^/@]+@", str(value)), f"{name}: {variable} holds a password"
    for name, secret in compose()["secrets"].items():
        assert secret == {"file": f"./secrets/{name}.txt"}


def test_a_service_gets_the_secrets_it_reads_and_no_others() -> None:
    for name, service in services().items():
        read = {v.rpartition("/")[2] for v in service["environment"].values() if str(v).startswith("/run/secrets/")}
        assert set(service["secrets"]) == read, name


def test_what_is_named_is_declared_and_what_is_declared_is_used() -> None:
    document = compose()
    used: dict[str, set[str]] = {"secrets": set(), "networks": set(), "volumes": set()}
    for service in document["services"].values():
        used["secrets"].update(service["secrets"])
        used["networks"].update(service["networks"])
        sources = [split_mount(mount)[0] for mount in service["volumes"]]
        used["volumes"].update(source for source in sources if not source.startswith("."))
        assert set(service.get("depends_on", ())) <= document["services"].keys()
    assert {kind: set(document[kind]) for kind in used} == used


def test_files_it_mounts_exist_and_data_cannot_be_written() -> None:
    for service in services().values():
        for source, target, read_only in map(split_mount, service["volumes"]):
            if source.startswith("./") and source not in ("./data", "./out"):
                assert (ROOT / source).exists(), source
            if source.startswith("./") and source != "./out":
                assert read_only, f"{target} may be written"


@pytest.mark.parametrize(("name", "service"), each_service())
def test_every_service_says_how_its_health_is_known(name: str, service: dict[str, Any]) -> None:
    check = service.get("healthcheck", {})
    if check:
        assert check["test"][0] == "CMD"
        assert not check.get("disable")
        assert seconds(check["timeout"]) <= 10
    else:
        assert len(service["x-no-healthcheck"]) > 20, f"{name} has neither a health check nor a reason"
    for depended, how in service.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in services()[depended]


@pytest.mark.parametrize(("name", "service"), each_service())
def test_every_service_runs_with_as_little_as_it_needs(name: str, service: dict[str, Any]) -> None:
    assert service["user"] == "1000:1000"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert "/tmp" in service["tmpfs"]
    assert not service.keys() & {"cap_add", "privileged", "devices", "pid", "ipc"}, name
    assert all("docker.sock" not in mount for mount in service["volumes"])


def test_images_are_pinned_and_ours_is_built_from_this_repository() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {name: service["image"] for name, service in services().items()}
    assert re.fullmatch(r"postgres:1[6-9]-bookworm", images.pop("postgres"))
    assert set(images.values()) == {f"posestudy:{version}"}
    built = [name for name, service in services().items() if "build" in service]
    assert built == ["mlflow"]
    assert services()["mlflow"]["build"]["context"] == "."
    # Nobody may put an image of this name into a public registry and be pulled.
    assert all(services()[name]["pull_policy"] == "never" for name in images if name != "mlflow")


def test_profiles_bring_up_what_they_say() -> None:
    profiles = {name: service.get("profiles", []) for name, service in services().items()}
    assert [name for name, needed in profiles.items() if not needed] == ["postgres", "mlflow"]
    assert profiles["worker-cpu"] == ["cpu"]
    assert profiles["worker-gpu"] == ["gpu"]
    gpus = {n for n, s in services().items() if "deploy" in s}
    assert gpus == {"worker-gpu", "posestudy-gpu"}
    for name in gpus:
        (device,) = services()[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia"
        assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_joins_the_named_study_and_may_save_before_it_is_killed(name: str) -> None:
    worker = services({"POSESTUDY_STUDY": "cat_pose"})[name]
    assert worker["command"] == ["worker", "cat_pose"]
    assert worker["command"][0] in _commands()
    assert worker["stop_signal"] == "SIGTERM"
    assert seconds(worker["stop_grace_period"]) >= 2 * PoolOptions().stop_grace_s
    assert worker["restart"].startswith("on-failure"), "a worker whose study is done must not start again"
    assert worker["depends_on"].keys() == {"postgres", "mlflow"}
    assert worker["shm_size"] == "2gb"


def test_all_of_posestudy_sees_the_same_home() -> None:
    ours = [services()[name] for name in (*WORKERS, "posestudy", "posestudy-gpu")]
    assert all(one["environment"] == ours[0]["environment"] for one in ours)
    assert all(one["volumes"] == ours[0]["volumes"] for one in ours)
    assert f"home:{ours[0]['environment']['POSESTUDY_HOME']}" in ours[0]["volumes"]


def test_the_page_about_it_names_the_services_variables_and_commands_there_are() -> None:
    page = (ROOT / "docs" / "services.md").read_text()
    there = compose()
    for name, command in re.findall(r"docker compose run --rm (\S+) (\S+)", page):
        assert name in there["services"]
        assert command in _commands() or name == "mlflow"
    profiles = {profile for service in there["services"].values() for profile in service.get("profiles", ())}
    assert set(re.findall(r"--profile (\w+)", page)) <= profiles
    text = FILE.read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked <= set(re.findall(r"\w+", page))
    assert asked <= set(re.findall(r"\w+", comments(text)))
    assert "tracking_server --artifacts" in page


def comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("#"))


def prepare(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "deploy").mkdir(exist_ok=True)
    shutil.copy(ROOT / "deploy" / "prepare.sh", folder / "deploy")
    return subprocess.run(["sh", str(folder / "deploy" / "prepare.sh")], capture_output=True, text=True, check=True)


def test_one_script_makes_the_secrets_and_leaves_those_there_are(tmp_path: Path) -> None:
    kept = tmp_path / "secrets" / "mlflow_password.txt"
    kept.parent.mkdir()
    kept.write_text("chosen by the operator\n")
    said = prepare(tmp_path).stdout
    secrets = {path.stem: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert secrets.keys() == compose()["secrets"].keys()
    assert secrets.pop("mlflow_password") == "chosen by the operator\n"
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    assert not any(secret in said for secret in secrets.values())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    owner = "1000:1000" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"
    assert (tmp_path / ".env").read_text() == f"POSESTUDY_USER={owner}\n"
    assert kept.stat().st_uid == int(owner.partition(":")[0]), "the services could not read it"
    prepare(tmp_path)
    assert (tmp_path / ".env").read_text().count("POSESTUDY_USER") == 1
    again = {path.stem: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {name: again[name] for name in secrets} == secrets


def test_git_ignores_the_secrets() -> None:
    for name in ("secrets/mlflow_password.txt", ".env", "data/cats/images/1.jpg", "out/report.pdf"):
        done = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)
        if done.returncode == 128:
            pytest.skip("not a git repository")
        assert done.returncode == 0, f"{name} would be committed"
