"""Numbers in words: rounded to the nearest, the sign of zero, ties, units, and what is no number is printed as none."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from posestudy.vocabulary import METRICS, Direction
from posestudy_reports import words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.quantities import QUANTITIES
from posestudy_reports.words import DASH, MINUS
from posestudy_reports.writers import latex, markdown, spreadsheet, webpage
from posestudy_reports.writers.latex_numbers import raw
from posestudy_reports.writers.latex_text import inline, loose
from posestudy_reports.zoo_table import ranked

metrics = st.sampled_from(list(METRICS.values()))
finite = st.floats(-1e6, 1e6, allow_nan=False)
shares = st.floats(0, 1)
NOT_FINITE = (math.nan, math.inf, -math.inf)
AP = METRICS["coco/AP"]


def read(text: str) -> Fraction:
    """The number a reader sees."""
    return Fraction(text.replace(MINUS, "-").replace(",", ""))


@given(finite, metrics)
@example(0.0005, AP)
@example(0.9995, AP)
@example(-0.0004999, AP)
def test_a_score_is_the_nearest_number_of_its_decimals(value, metric):
    text = words.score(value, metric)
    assert abs(read(text) - Fraction(value)) <= Fraction(1, 2 * 10**metric.decimals)
    assert len(text.rpartition(".")[2]) == metric.decimals


@given(st.integers(-5000, 5000))
def test_a_half_that_a_float_can_hold_goes_to_the_even_neighbour(eighths):
    value = eighths / 8  # 0.125, 0.375, ... lie exactly between two decimals of two digits
    metric = METRICS["epe"]
    assert read(words.score(value, metric)) == Fraction(round(Decimal(value), 2))


@given(finite, metrics)
@example(-0.0, AP)
@example(-1e-9, AP)
def test_zero_has_no_sign(value, metric):
    for text in (words.score(value, metric), words.difference(value, metric)):
        if read(text) == 0:
            assert text[0] == "0"


@given(finite, metrics)
def test_a_difference_has_its_sign(value, metric):
    text = words.difference(value, metric)
    assert "-" not in text
    if read(text) != 0:
        assert text[0] == ("+" if value > 0 else MINUS)
    assert abs(read(text)) == abs(read(words.score(value, metric)))


@given(finite, finite, metrics)
def test_rounding_keeps_the_order(one, other, metric):
    assume(one <= other)
    assert read(words.score(one, metric)) <= read(words.score(other, metric))


@given(st.floats(1e-6, 1), metrics)
def test_a_precise_number_has_two_digits_that_count(value, metric):
    text = words.precise(value, metric)
    decimals = len(text.rpartition(".")[2])
    assert metric.decimals <= decimals <= 6
    assert abs(read(text) - Fraction(value)) <= Fraction(1, 2 * 10**decimals)
    if value >= 1e-5:
        assert abs(read(text) - Fraction(value)) <= Fraction(value) / 19


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("metric", [AP, METRICS["nme"], METRICS["epe"]])
def test_what_is_no_number_is_a_dash(value, metric):
    texts = [words.score(value, metric), words.difference(value, metric), words.precise(value, metric)]
    assert [*texts, words.duration(value)] == [DASH] * 4
    assert words.level(value) == "not finite"


@given(st.floats(allow_nan=True, allow_infinity=True), metrics)
def test_no_text_of_any_float_reads_nan_or_inf(value, metric):
    for told in (words.score, words.difference, words.precise):
        assert re.search("nan|inf", told(value, metric)) is None
    assert re.search("nan|inf", words.duration(value)) is None
    assert re.search("nan|inf$", words.level(value)) is None


@given(st.floats(0, 1e7))
@example(59.5)
@example(3599.5)
@example(3569.99)
def test_a_duration_is_told_in_its_own_unit_to_the_nearest(seconds):
    text = words.duration(seconds)
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    units = re.findall(r"[a-z]+", text)
    assert units in (["s"], ["min", "s"], ["h", "min"])
    worth = {"s": 1, "min": 60, "h": 3600}
    total = sum(n * worth[unit] for n, unit in zip(numbers, units, strict=True))
    assert abs(total - seconds) <= (0.5 if units[-1] == "s" else 30.5)
    if len(units) == 2:
        assert numbers[1] < 60
        assert re.fullmatch(r"\d+ (min \d\d s|h \d\d min)", text)


def test_a_clock_that_went_back_measured_nothing():
    assert words.duration(-1.0) == DASH


@given(st.floats(1e-12, 1e12))
@example(0.01)
@example(0.009999999)
@example(5e-4)
def test_a_level_reads_as_itself_to_six_digits(value):
    text = words.level(value)
    assert math.isclose(float(text), value, rel_tol=1e-5)
    assert ("e-" in text) == (float(text) < 0.01)
    assert not re.search(r"e[+-]?0|\.0*(e|$)", text)


@given(st.integers(-(10**9), 10**9))
def test_a_whole_level_has_all_its_digits(value):
    assert words.level(value) == str(value)


def test_levels_that_are_no_numbers_are_told_in_words():
    assert [words.level(v) for v in (None, False, True, 0.0, -0.0)] == ["off", "off", "on", "0", "0"]
    assert words.level([256, 192], "input_size") == "256×192"
    assert words.level([10, 15]) == "[10, 15]"


@given(st.lists(st.one_of(st.none(), shares), max_size=8), st.sampled_from(list(Direction)))
def test_best_and_second_are_what_a_reader_finds_in_the_printed_column(values, direction):
    texts = [DASH if v is None else words.score(v, AP) for v in values]
    marks = ranked(values, texts, direction)
    seen = sorted({read(t) for t, v in zip(texts, values, strict=True) if v is not None})
    seen = seen[::-1] if direction is Direction.MORE else seen
    for text, value, mark in zip(texts, values, marks, strict=True):
        if value is None or len(seen) < 2:
            assert mark == ""
        else:
            place = seen.index(read(text))
            assert mark == ("best" if place == 0 else "second" if place == 1 else "")


@given(st.floats(1, 1e12))
def test_amounts_of_parameters_keep_their_size(value):
    text = QUANTITIES["parameters"].text(value)
    worth = {"M": 1e6, "k": 1e3}.get(text[-1], 1.0)
    assert math.isclose(float(text.rstrip("Mk")) * worth, value, rel_tol=0.06, abs_tol=0.51)


@given(st.floats(1e-4, 1e5), st.sampled_from(["gflops", "latency"]))
def test_costs_keep_two_digits_that_count(value, name):
    text = QUANTITIES[name].text(value)
    assert math.isclose(float(text), value, rel_tol=0.06)


@given(finite, metrics)
def test_a_macro_gives_siunitx_what_a_reader_sees(value, metric):
    for text in (words.score(value, metric), words.difference(value, metric)):
        plain = raw(Number("a/b", text, value, "", ()))
        assert re.fullmatch(r"[+-]?\d+\.\d+", plain)
        assert Fraction(plain) == read(text)


anything = st.text(st.characters(codec="utf-8"), max_size=60)


@given(anything)
def test_no_text_gets_out_of_its_line_in_latex(text):
    for made in (latex.escape(text), inline(text, "s"), loose(text, "s")):
        assert "\n" not in made
        bare = re.sub(r"\\poseletter\{[0-9A-F]+\}\{.\}|\$[^$]*\$|\\[a-zA-Z]+(\{\})?|\\[%_$&#{},]", "", made)
        assert not set("%_$&#~^\\") & set(bare.replace("~", "") if "\u00a0" in text else bare)
        depth = 0
        for letter in bare:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            assert depth >= 0
        assert depth == 0


@given(anything)
def test_no_text_leaves_its_cell_in_markdown_html_and_csv(text):
    made = markdown.escape(text)
    assert re.search(r"(?<!\\)(\\\\)*\|", made) is None
    assert "\n" not in made
    assert "<" not in made
    assert "<" not in webpage.inline(text)
    assert spreadsheet.guarded(text)[:1] not in ("=", "@")


@given(finite, metrics)
def test_every_format_prints_the_number_that_was_measured(value, metric):
    number = Number("lr/a/final", words.score(value, metric), value, "mean", ("1" * 32,))
    text = said("20: {n} of \u00b1", n=number)
    assert isinstance(text, Text)
    assert inline(text, "cats") == "20: \\posenum{cats/lr/a/final} of $\\pm$"
    assert f'data-address="lr/a/final" title="mean" href="#trial-{"1" * 32}">{number.text}</a>' in webpage.inline(text)
    assert number.text in spreadsheet.guarded(text)
