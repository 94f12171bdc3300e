"""Text that is no YAML is told in words of the file, at the line that is wrong."""

from __future__ import annotations

import pytest

from posestudy.errors import InputError
from posestudy_studies import yaml_text

INDENTED = "expected as many as before the keys beside it"
LIST = "a list item ('- ') among keys"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n  m: 1\n b: 2\n", f"s.yaml:3:2: found a line that begins with 1 space, {INDENTED}"),
        ("a:\n  m: 1\n    b: 2\n", f"s.yaml:3:6: found a line that begins with 4 spaces, {INDENTED}"),
        ("a:\n  m: {x: 1}\n    b: 2\n", f"s.yaml:3:5: found a line that begins with 4 spaces, {INDENTED}"),
        ("s:\n  - name: x\n   design: y\n", f"s.yaml:3:4: found a line that begins with 3 spaces, {INDENTED}"),
        ("stages:\n  - name: x\nrest: {seeds: [0]}\n  - name: y\n", f"s.yaml:4:3: found {LIST}"),
        ("stages:\n  - name: x\nrest: 1\n  - name: y\n", f"s.yaml:4:9: found {LIST}"),
        ("stages:\n  - name: x\nrest: 1\n- name: y\n", f"s.yaml:4:1: found {LIST}"),
        ("a:\n  m: 1\n  b:2\n  c: 3\n", "s.yaml:3:3: found 'b:2', expected `key: value` (a space belongs after"),
        ("a:\n  m: 1\n  b:2\n", "s.yaml:3:3: found 'b:2', expected `key: value` (a space belongs after"),
        ("a:\n  b:2\n  c: 3\n", "s.yaml:3:4: found a key below 'b:2', expected `key: value` there too (a space"),
        ("note: Half: more\n", "s.yaml:1:11: found a second ': ' in one value, expected one `key: value` in a line"),
        ("a: {x: 1\nb: 2\n", "'}' after the last ('{' is opened in line 1)"),
        ("a: [1, 2\nb: 2\n", "']' after the last ('[' is opened in line 1)"),
        ("a: [1]]\n", "s.yaml:1:7: found ']', expected brackets that are opened before they are closed"),
        ("a: 'x\nb: 2\n", "s.yaml:1:4: found a quote that is not closed"),
        ("a: @x\n", "s.yaml:1:4: found text that begins with @, expected such text in quotes"),
        ("a: 1\n---\nb: 1\n", "s.yaml:2:1: found a second document"),
        ("a:\n\tb: 1\n", "s.yaml:2:1: found a tab, expected spaces"),
    ],
)
def test_what_is_no_yaml_is_told_in_words_of_the_file(text: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        yaml_text.parse(text, "s.yaml")
    assert told in str(refused.value)
    assert "<block" not in str(refused.value)


@pytest.mark.parametrize("text", ["a:\n  b:2\x85\n  c: 3\n", "a: 1\x0b\n b: 2\n c", "a: 'x", "{", "- a\nb:\n  - c\n d"])
def test_odd_line_ends_and_ends_of_file_are_mistakes_of_the_user_too(text: str) -> None:
    with pytest.raises(InputError, match=r"^s\.yaml:"):
        yaml_text.parse(text, "s.yaml")
