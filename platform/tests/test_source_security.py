"""What posestudy's sources never do: unpickle, run text, start a shell, unpack an archive blindly, listen to all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("platform/posestudy", "studies/posestudy_studies", "runner/posestudy_runner", "reports/posestudy_reports")
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))

# multiprocessing pickles what one process of ours hands another of ours through a pipe; nothing of it lies in a file.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "yaml"}
HARMLESS = {"pickle": {"UnpicklingError", "PicklingError"}}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "shutil.unpack_archive", "pd.read_pickle",
    "pandas.read_pickle", "Config.fromstring", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn",
}  # fmt: skip
# Text that posestudy itself generated one line before, which is literals alone.
# Names of posestudy's own packages, to see that they cannot be imported.
KNOWN = {("re_evaluation.py", "Config.fromstring"), ("bundle_probe.py", "__import__")}


def dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value)}.{name}"
    return ""


def harm(tree: ast.AST, file: str = "") -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"import {name.name}" for name in names if name.name.partition(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module), names=names) if module.partition(".")[0] in MODULES:
                fine = HARMLESS.get(module, set())
                yield from (f"from {module} import {name.name}" for name in names if name.name not in fine)
            case ast.Call():
                yield from called(node, file)


def called(node: ast.Call, file: str) -> Iterator[str]:
    name = dotted(node.func)
    options = {option.arg: option.value for option in node.keywords}

    def says(option: str, wanted: object) -> bool:
        value = options.get(option)
        return isinstance(value, ast.Constant) and value.value is wanted

    if name in CALLS and (file, name) not in KNOWN:
        yield f"{name}(...)"
    if name.endswith("torch.load") and not says("weights_only", True):
        yield "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and not says("allow_pickle", False):
        yield "np.load without allow_pickle=False"
    if "allow_pickle" in options and not says("allow_pickle", False):
        yield f"{name} with allow_pickle"
    if "weights_only" in options and not says("weights_only", True):
        yield f"{name} with weights_only other than True"
    if "shell" in options and not says("shell", False):
        yield f"{name} with a shell"
    if name.endswith((".extractall", ".extract")):
        yield f"{name}: the archive decides where it writes"
    if name.rpartition(".")[2] == "YAML" and not (isinstance(options.get("typ"), ast.Constant) and says_safe(options)):
        yield "YAML that is not safe"
    yield from (f"{name} listens to all" for value in (*node.args, *options.values()) if is_everybody(value))


def says_safe(options: dict[str | None, ast.expr]) -> bool:
    value = options["typ"]
    return isinstance(value, ast.Constant) and value.value == "safe"


def is_everybody(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value in ("0.0.0.0", "::")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_source_does_harm(package: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}: {what}"
        for file in SOURCES
        if file.is_relative_to(ROOT / package)
        for what in harm(ast.parse(file.read_text(encoding="utf-8")), file.name)
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import joblib.numpy_pickle", "from pickle import loads", "import yaml", "eval(x)", "exec(x)",
        "torch.load(x)", "torch.load(x, weights_only=False)", "torch.load(x, weights_only=y)", "np.load(x)",
        "np.load(x, allow_pickle=True)", "np.savez(x, allow_pickle=True)", "subprocess.run(x, shell=True)",
        "os.system(x)", "archive.extractall(x)", "shutil.unpack_archive(x)", "YAML()", "YAML(typ='unsafe')",
        "serve(host='0.0.0.0')", "Config.fromstring(x, '.py')", "load_url(x, weights_only=False)",
    ],
)  # fmt: skip
def test_the_check_finds_harm(source: str) -> None:
    assert list(harm(ast.parse(source)))


def test_what_is_fine_is_found_fine() -> None:
    source = (
        "torch.load(x, weights_only=True); np.load(x, allow_pickle=False); YAML(typ='safe', pure=True); model.eval()"
    )
    assert list(harm(ast.parse(source + "; from pickle import UnpicklingError"))) == []
