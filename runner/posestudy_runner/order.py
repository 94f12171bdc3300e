"""What a worker asks of a trial process, as JSON in its attempt folder: all of it, so that the trial asks nobody."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from posestudy.durable import write_text
from posestudy.home import AttemptPaths
from posestudy.ledger.records import Checkpoint, Claim, Json

TARGET = "posestudy_runner.trial:main"


@dataclass(frozen=True)
class TrialOrder:
    """One attempt at one trial.

    Attributes:
        target: `module:function` that trains, called as `function(order, control)`; in the other ranks of a trial on
            several GPUs it is `follow(order, following)` of that module.
        study, training: the study document and the cell's resolved configuration.
        metric, direction: the study's metric under its ledger name, and `more` or `less`.
        epochs: epochs the cell trains for.
        folder: absolute path of the attempt folder.
        device, threads: where to compute and with how many threads; a resumed trial keeps its first thread
            count, without which its weights would differ in the last bits.
        devices: of a trial on several GPUs, those of its ranks, `device` first; empty: it has one rank. `threads` and
            `cores` are those of one rank.
        cores: this attempt's share of the machine's cores, as for processes that load data; what they are many or few
            changes no result. None: as many as `threads`.
        prunes: the trial waits for an answer after each evaluated epoch.
        until: the epoch at which the pruner or the floor had already ended the trial, where an earlier attempt was
            killed between that and its end; None otherwise.
        floor: `{"value", "epoch"}` the metric must have reached at the first validation at or after that epoch.
        missed: how the floor was missed at `until`, as a sentence; None where it was not.
        resume: checkpoints to try, newest first; none of them usable means epoch 0.
        evaluate: a finished trial that was trained as this one is to be, whose weights are evaluated instead:
            `{"study", "number", "uid", "checkpoint": {"path", "sha", "epoch"}}`; None to train.
        used_s, limit_s: seconds of training in earlier attempts and allowed in all.
        memory_limit_mb: MiB the trial may take, of the GPU or on a CPU of the process; None for no limit.
        disk_retry_s: seconds between two tries on a full disk.
        lease_s: seconds the trial may train on without a word from its worker; None for ever.
        profiles: what networks cost to run that this pool has measured, by `network_cost.cost_class`.
        images: folder of the decoded images that all trials share; None to decode each image each time.
    """

    target: str
    study_name: str
    study: Json
    training: Json
    stage: str
    cell: str
    uid: str
    number: int
    fence: int
    seed: int
    metric: str
    direction: str
    epochs: int
    folder: str
    device: str
    threads: int
    devices: tuple[str, ...] = ()
    cores: int | None = None
    prunes: bool = False
    until: int | None = None
    floor: Json | None = None
    missed: str | None = None
    resume: tuple[Checkpoint, ...] = ()
    evaluate: Json | None = None
    used_s: float = 0.0
    limit_s: float | None = None
    memory_limit_mb: float | None = None
    disk_retry_s: float = 10.0
    lease_s: float | None = None
    profiles: dict[str, Json] = field(default_factory=dict)
    images: str | None = None

    @property
    def paths(self) -> AttemptPaths:
        return AttemptPaths(Path(self.folder))

    @property
    def last_epoch(self) -> int:
        """The epoch after which nothing is left to train."""
        return self.epochs if self.until is None else min(self.until, self.epochs)

    def write(self) -> Path:
        """Put the order into its attempt folder, which is made; returns the file."""
        write_text(self.paths.order, json.dumps(asdict(self), indent=2, sort_keys=True))
        return self.paths.order

    @classmethod
    def read(cls, path: Path) -> TrialOrder:
        document = json.loads(path.read_text(encoding="utf-8"))
        known = {one.name for one in fields(cls)}
        document["resume"] = tuple(Checkpoint(**c) for c in document["resume"])
        document["devices"] = tuple(document.get("devices") or ())
        return cls(**{key: value for key, value in document.items() if key in known})


def checkpoints(claim: Claim) -> tuple[Checkpoint, ...]:
    """The checkpoints the ledger knows of a claimed trial, newest first."""
    trial = claim.trial
    rows = ((trial.ckpt_path, trial.ckpt_sha, trial.ckpt_epoch), (trial.prev_path, trial.prev_sha, trial.prev_epoch))
    return tuple(Checkpoint(path, sha, epoch) for path, sha, epoch in rows if path and sha)
