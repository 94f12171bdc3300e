"""Text of a study file stays text in the config it becomes: none of it is code, and MMEngine replaces none of it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestudy_studies.python_source import assignments

TEXTS = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{",
                "$HOME:",
                "fileDirname",
                "_base_.x",
                "'",
                '"',
                "\\",
                "\n",
                "\r",
                "\u2028",
                "\x00",
                "\ud800",
            ]
        ),
        max_size=8,
    ).map("".join),
)
KEYS = st.one_of(TEXTS, st.sampled_from(["__debug__", "self", "None", "\ufb01", "class", "_delete_"]))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.integers(0, 9), inner, max_size=3),
    ),
    max_leaves=20,
)


def evaluated(node: ast.expr) -> Any:
    """The data of a literal, a container or a call of `dict` or `float`; anything else is code and fails."""
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            assert all(keyword.arg for keyword in keywords)
            return {keyword.arg: evaluated(keyword.value) for keyword in keywords}
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(text))], keywords=[]):
            return float(text)
        case ast.Dict(keys=keys, values=values):
            return {evaluated(key): evaluated(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.List(elts=items):
            return [evaluated(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(evaluated(item) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Constant(value=value):
            return value
    raise AssertionError(f"code: {ast.dump(node)}")


@settings(max_examples=300, deadline=None)
@given(value=PLAIN)
def test_the_text_of_a_config_is_literals_of_the_same_data(value: Any) -> None:
    source = assignments({"model": value})
    (statement,) = ast.parse(source).body
    assert isinstance(statement, ast.Assign)
    assert evaluated(statement.value) == value
    assert "{{" not in source


@pytest.mark.parametrize(
    "text",
    [
        "{{$SECRET_OF_MINE:x}}",
        "'{{_base_.a}}'",
        "{{fileDirname}}",
        "{{'$SECRET_OF_MINE:x'}}",
        "{{{$SECRET_OF_MINE:x}}}",
    ],
)
def test_mmengine_replaces_nothing_in_a_text(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mmengine = pytest.importorskip("mmengine.config")
    monkeypatch.setenv("SECRET_OF_MINE", "hunter2")
    file = tmp_path / "config.py"
    file.write_text(assignments({"model": {"name": text, text: 1}}), encoding="utf-8")
    assert mmengine.Config.fromfile(str(file)).to_dict() == {"model": {"name": text, text: 1}}
