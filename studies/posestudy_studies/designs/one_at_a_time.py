"""`one_at_a_time`: variants that each change one thing, and named combinations of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from posestudy.errors import nearest
from posestudy_studies.designs import named
from posestudy_studies.designs.base import Design, Probe, Proposal
from posestudy_studies.mistakes import Mistake, Path, show
from posestudy_studies.training import Model, Training

COMBINE = "combine"

Names = Annotated[list[str], Field(min_length=2, max_length=100)]


class Combination(Model):
    """Variants put together in one cell."""

    of: Names = Field(description="Names of variants.")
    label: str = Field("", description="Row label in the tables.")
    note: str = Field("", description="What the row tries, in words.")


class OneAtATime(Design):
    """Variants of the configuration the stage starts from, one change at a time, and declared combinations."""

    design: Literal["one_at_a_time"]
    variants: dict[str, dict[str, Any]] = Field(
        min_length=1, max_length=10_000,
        json_schema_extra=named.schema(
            combine={"type": "array", "items": {"type": "string"}, "description": "Variants put together."}
        ),
        description="Name of each cell with what it changes; `combine: [a, b]` instead puts variants together.",
    )  # fmt: skip
    combine: list[Names] | dict[str, Combination] = Field(
        default_factory=list, description="Combinations of variants, as `[[a, b]]` or `{NAME: {of: [a, b]}}`."
    )

    def combinations(self) -> dict[str, list[str]]:
        return {name: list(of) for name, (of, _) in self._combined().items()}

    def _combined(self) -> dict[str, tuple[Sequence[str], Path]]:
        """Each combination by name: the variants in it, and where in the stage they are listed."""
        found: dict[str, tuple[Sequence[str], Path]] = {}
        for name, entry in self.variants.items():
            if isinstance(entry.get(COMBINE), list):
                found[name] = (entry[COMBINE], ("variants", name, COMBINE))
        if isinstance(self.combine, dict):
            found |= {name: (c.of, (COMBINE, name, "of")) for name, c in self.combine.items()}
        else:
            found |= {"-".join(of): (of, (COMBINE, i)) for i, of in enumerate(self.combine)}
        return found

    def _single(self) -> dict[str, Mapping[str, Any]]:
        return {name: entry for name, entry in self.variants.items() if COMBINE not in entry}

    def _merged(self, of: Sequence[str]) -> dict[str, Any]:
        single, merged = self._single(), dict[str, Any]()
        for name in of:
            merged |= named.levels(single.get(name, {}))
        return merged

    def opening(self, start: Training) -> list[Proposal]:
        del start
        combined, proposals = self._combined(), []
        for name, entry in self.variants.items():
            levels = self._merged(combined[name][0]) if name in combined else named.levels(entry)
            proposals.append(Proposal(name, levels, *self._words(name, named.words(entry))))
        for name, (of, _) in combined.items():
            if name not in self.variants:
                own = self.combine[name] if isinstance(self.combine, dict) else None
                text = (own.label, own.note) if own else ("", "")
                proposals.append(Proposal(name, self._merged(of), *self._words(name, text)))
        return proposals

    def _words(self, name: str, text: tuple[str, str]) -> tuple[str, str]:
        """A combination without words of its own is called after its variants."""
        label, note = text
        of = self.combinations().get(name)
        return (label or " + ".join(of), note) if of else (label, note)

    def probes(self) -> list[Probe]:
        single, probes = self._single(), []
        for name, entry in single.items():
            levels = named.levels(entry)
            probes.append(Probe(("variants", name), levels, {f: ("variants", name, f) for f in levels}))
        for of, path in self._combined().values():
            if all(name in single for name in of):
                places = {f: ("variants", name, f) for name in of for f in named.levels(single[name])}
                probes.append(Probe(path, self._merged(of), places))
        return probes

    def mistakes(self) -> list[Mistake]:
        wrong: list[Mistake] = []
        for name, entry in self.variants.items():
            path: Path = ("variants", name)
            if COMBINE not in entry:
                wrong += named.entry_mistakes(path, name, entry)
                continue
            wrong += named.name_mistakes(path, name) + named.word_mistakes(path, entry)
            of = entry[COMBINE]
            if not isinstance(of, list) or len(of) < 2:
                wrong.append(Mistake((*path, COMBINE), show(of), "a list of at least two names of variants"))
            if further := [key for key in entry if key not in (COMBINE, *named.WORDS)]:
                expected = "only label and note beside combine"
                wrong.append(Mistake((*path, further[0]), f"the level of '{further[0]}'", expected, at_key=True))
        if isinstance(self.combine, dict):
            for name in self.combine:
                wrong += named.name_mistakes((COMBINE, name), name)
                if name in self.variants:
                    wrong.append(Mistake((COMBINE, name), f"{name!r} a second time", "a name of its own", at_key=True))
        for of, path in self._combined().values():
            wrong += self._combination_mistakes(of, path)
        return wrong

    def _combination_mistakes(self, of: Sequence[str], path: Path) -> list[Mistake]:
        single, wrong = self._single(), []
        seen: dict[str, str] = {}
        for i, name in enumerate(of):
            if name not in single:
                expected = f"a variant: {', '.join(single)}"
                wrong.append(Mistake((*path, i), show(name), expected, nearest(str(name), single)))
                continue
            if name in of[:i]:
                wrong.append(Mistake((*path, i), f"{name!r} a second time", "each variant once"))
                continue
            for factor in named.levels(single[name]):
                if factor in seen:
                    found = f"{name!r}, which sets {factor} as {seen[factor]!r} does"
                    wrong.append(Mistake((*path, i), found, "variants that set different factors"))
                seen[factor] = name
        return wrong
