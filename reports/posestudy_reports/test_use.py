"""How often the test split was predicted, in a sentence."""

from __future__ import annotations

from collections import Counter

from posestudy.vocabulary import Purpose
from posestudy_reports import words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.results import StudyResult

_PURPOSES = {
    Purpose.PREDICT: "on its own",
    Purpose.BUNDLE: "for an archive to hand in",
    Purpose.SUBMISSION: "after training",
}


def sentence(result: StudyResult) -> Text:
    """Of every prediction the ledger has, by whichever trial; empty where the study has no test split."""
    dataset = result.snapshot.study.document.get("dataset")
    uses = result.snapshot.test_uses
    if not uses and not (isinstance(dataset, dict) and dataset.get("test")):
        return Text("")
    if not uses:
        return Text("The test split has never been predicted.")
    numbers = {trial.uid: trial.number for trial in result.snapshot.trials}
    counted = Counter((use.trial_uid, use.purpose) for use in uses)
    parts = [_part(numbers.get(uid), purpose, count) for (uid, purpose), count in counted.items()]
    whole = Text(words.listing(parts))
    if len(uses) == 1:
        return said("The test split was predicted once: {parts}.", parts=whole)
    uids = tuple(dict.fromkeys(use.trial_uid for use in uses))
    times = Number(
        "study/test_uses", str(len(uses)), float(len(uses)), "predictions of the test split, from the ledger", uids
    )
    return said("The test split was predicted {times} times: {parts}.", times=times, parts=whole)


def _part(number: int | None, purpose: Purpose, count: int) -> str:
    by = "a trial that is no longer in the study" if number is None else f"trial {number}"
    return f"{_PURPOSES[purpose]} by {by}" + (f" ({count} times)" if count > 1 else "")
