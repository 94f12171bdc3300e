"""Files that posestudy itself wrote, damaged: what is left of them is what was written, never something else."""

import random

from posestudy import fuzzing, journal, sealed_json

DOCUMENT = {"rates": [{"device": "cpu", "iteration_s": 0.25, "basis": "measured"}, {"device": "x", "iteration_s": 1.5}]}
ENTRIES = [{"type": "epoch", "epoch": epoch, "metrics": {"loss": 1 / epoch}} for epoch in range(1, 8)]


def damage(path, raw, seed):
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 3))):
        raw = fuzzing.damaged(raw, chance)
    path.write_bytes(raw)


@fuzzing.drawn(150)
def test_a_sealed_file_is_what_was_written_or_nothing(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    sealed_json.write(path, DOCUMENT)
    assert sealed_json.read(path) == DOCUMENT
    damage(path, path.read_bytes(), seed)
    assert sealed_json.read(path) in (None, DOCUMENT)


def test_a_sealed_file_that_somebody_changed_is_not_believed(tmp_path):
    path = tmp_path / "sealed.json"
    assert sealed_json.read(path) is None
    sealed_json.write(path, DOCUMENT)
    path.write_text(path.read_text().replace("0.25", "0.26"))
    assert sealed_json.read(path) is None
    for text in (
        "[1]",
        "{}",
        '{"sha256": 3}',
        "[" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ):
        path.write_text(text)
        assert sealed_json.read(path) is None


@fuzzing.drawn(100)
def test_a_damaged_journal_gives_its_first_entries(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "journal"
    path.unlink(missing_ok=True)
    writer = journal.JournalWriter(path)
    for entry in ENTRIES:
        writer.append(entry)
    writer.close()
    whole = path.read_bytes()
    damage(path, whole, seed)
    left = journal.read(path)
    # Entries put in twice or taken out whole by the damage are whole entries still.
    assert all(entry in ENTRIES for entry in left)
    journal.JournalWriter(path).close()
    assert journal.read(path) == left
