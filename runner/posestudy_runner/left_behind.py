"""What an attempt trained and nobody brought into the ledger: worker and trial died while it was away.

It is in the attempts' journals, and the checkpoints are beside them. Who claims the trial next takes it over under
its own fence instead of training it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posestudy import journal
from posestudy.durable import sha256_file
from posestudy.home import AttemptPaths, Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint, Claim, Json, NewSplitUse, ValueRecord
from posestudy.vocabulary import Purpose


@dataclass(frozen=True)
class _Epoch:
    epoch: int
    metrics: dict[str, float]
    checkpoint: Checkpoint | None
    duration_s: float


@dataclass(frozen=True)
class _Left:
    """What one attempt left beyond the ledger's checkpoint.

    Attributes:
        fence: of the attempt.
        epochs: those right after the checkpoint, without a gap.
        within: what was saved in the middle of the epoch after them, where the attempt gave way there.
        within_s: seconds of training in that epoch.
    """

    fence: int
    epochs: tuple[_Epoch, ...]
    within: Checkpoint | None = None
    within_s: float = 0.0


def adopt(ledger: Ledger, home: Home, claim: Claim, metric: str, prunes: bool) -> Claim | None:
    """The claim with what earlier attempts left in their folders; the very same where that is nothing.

    An evaluated epoch on which the pruner has not decided is left to be trained again, and what follows it: nobody may
    know what the pruner would have said.

    Args:
        metric: whose presence makes an epoch an evaluated one.
        prunes: whether the trial's stage has a pruner.

    Returns:
        None where another worker has taken the trial meanwhile.
    """
    found = [(paths, frames) for paths in _earlier(home, claim) if (frames := _frames(paths.journal))]
    for _, frames in found:
        for use in _uses(frames):
            ledger.record_test_use(claim.trial.uid, use)
    candidates = [_following(paths, frames, claim, metric, prunes) for paths, frames in found]
    candidates = [left for left in candidates if left.epochs or left.within is not None]
    if not candidates:
        return claim
    since_retry, known = _fences_since_retry(ledger, claim), _fence_of_checkpoint(claim)
    # An attempt before the one whose checkpoint the ledger has may have trained on while its worker was frozen, but not
    # from that checkpoint: on a GPU its weights and numbers are others.
    best = _furthest([left for left in candidates if left.fence in since_retry and left.fence >= known])
    if best is None:
        return claim
    counted = {value.epoch for value in claim.values if value.fence == best.fence}
    for epochs, checkpoint, within_s in _steps(best):
        spent_s = within_s + sum(epoch.duration_s for epoch in epochs if epoch.epoch not in counted)
        values = {epoch.epoch: epoch.metrics for epoch in epochs}
        if not ledger.record_epoch(claim.trial.uid, claim.trial.fence, values, checkpoint, spent_s):
            return None
        claim = _with(claim, epochs, checkpoint, spent_s)
    return claim


def _earlier(home: Home, claim: Claim) -> list[AttemptPaths]:
    folders = home.attempts(claim.study.name, claim.trial.number)
    return [paths for paths in folders if int(paths.folder.name) < claim.trial.fence]


def _frames(path: Path) -> list[Json]:
    """What is whole in a journal; one that cannot be read is as good as none."""
    try:
        return journal.read(path)
    except (OSError, ValueError):
        return []


def _uses(frames: Sequence[Json]) -> Iterator[NewSplitUse]:
    for frame in frames:
        if frame.get("type") == "tested":
            yield NewSplitUse(**{**frame["use"], "purpose": Purpose(frame["use"]["purpose"])})


def _following(paths: AttemptPaths, frames: Sequence[Json], claim: Claim, metric: str, prunes: bool) -> _Left:
    """What an attempt did right after the ledger's checkpoint, as far as nothing is missing in between."""
    fence, trial = int(paths.folder.name), claim.trial
    decided = int((trial.decision or {}).get("epoch", 0))
    last = int(claim.cell.config["epochs"])
    if (trial.decision or {}).get("prune") or (trial.decision or {}).get("pause"):
        last = min(last, decided)
    chain: list[_Epoch] = []
    for frame in frames:
        reached = trial.ckpt_epoch + len(chain)
        if frame.get("type") == "end" and frame.get("checkpoint"):
            saved = _here(paths, frame["checkpoint"])
            if saved.epoch == reached < last and (chain or _is_news(saved, fence, claim)):
                return _Left(fence, tuple(chain), saved, float(frame.get("duration_s") or 0.0))
        if frame.get("type") != "epoch" or int(frame["epoch"]) <= trial.ckpt_epoch:
            continue
        epoch = int(frame["epoch"])
        asks_pruner = prunes and metric in frame["metrics"] and epoch > decided
        if epoch != reached + 1 or epoch > last or asks_pruner:
            break
        checkpoint = _here(paths, frame["checkpoint"]) if frame["checkpoint"] else None
        chain.append(_Epoch(epoch, dict(frame["metrics"]), checkpoint, float(frame["duration_s"])))
    return _Left(fence, tuple(chain))


def _here(paths: AttemptPaths, document: Json) -> Checkpoint:
    """A checkpoint where it lies now: a home that was restored has journals that name the places of the old one."""
    saved = Checkpoint(**document)
    return replace(saved, path=str(paths.folder / Path(saved.path).name))


def _is_news(saved: Checkpoint, fence: int, claim: Claim) -> bool:
    """Whether `saved` goes beyond the ledger's checkpoint, which has as many finished epochs in it."""
    if claim.trial.ckpt_path is None:
        return True
    return (fence, Path(saved.path).name) != (_fence_of_checkpoint(claim), Path(claim.trial.ckpt_path).name)


def _fence_of_checkpoint(claim: Claim) -> int:
    """The attempt that wrote the ledger's checkpoint; 0 where there is none."""
    folder = Path(claim.trial.ckpt_path or "").parent.name
    return int(folder) if folder.isdecimal() else 0


def _fences_since_retry(ledger: Ledger, claim: Claim) -> set[int]:
    """Attempts since the trial last began at its first epoch: what was before a `--retry` was to be forgotten."""
    began = claim.trial.started or 0.0
    attempts = ledger.snapshot(claim.study.name, values=False).attempts
    return {a.fence for a in attempts if a.trial_uid == claim.trial.uid and a.started >= began}


def _furthest(candidates: Sequence[_Left]) -> _Left | None:
    """The one that got furthest, cut to the last of its checkpoints that is sound; the latest attempt's of equals."""
    ends = [(len(left.epochs), True, index) for index, left in enumerate(candidates) if left.within is not None]
    for index, left in enumerate(candidates):
        ends += [(length, False, index) for length, epoch in enumerate(left.epochs, 1) if epoch.checkpoint is not None]
    for length, within, index in sorted(ends, key=lambda end: (-end[0], not end[1], end[2])):
        left = candidates[index]
        saved = left.within if within else left.epochs[length - 1].checkpoint
        if saved is not None and _sound(saved):
            return left if within else _Left(left.fence, left.epochs[:length])
    return None


def _steps(left: _Left) -> Iterator[tuple[Sequence[_Epoch], Checkpoint, float]]:
    """Epochs with the checkpoint that holds them, and the seconds beside theirs: the last sound one stays as the
    fallback of what was saved within an epoch."""
    split = len(left.epochs) if left.within is None else _last_sound(left.epochs)
    checkpoint = left.epochs[split - 1].checkpoint if split else None
    if checkpoint is not None:
        yield left.epochs[:split], checkpoint, 0.0
    if left.within is not None:
        yield left.epochs[split:], left.within, left.within_s


def _last_sound(epochs: Sequence[_Epoch]) -> int:
    """How many of `epochs` the last sound checkpoint of theirs holds; only as many are read as it takes."""
    for length in range(len(epochs), 0, -1):
        checkpoint = epochs[length - 1].checkpoint
        if checkpoint is not None and _sound(checkpoint):
            return length
    return 0


def _sound(checkpoint: Checkpoint) -> bool:
    try:
        return sha256_file(Path(checkpoint.path)) == checkpoint.sha
    except OSError:
        return False


def _with(claim: Claim, adopted: Sequence[_Epoch], saved: Checkpoint, spent_s: float) -> Claim:
    trial = claim.trial
    values = {value.epoch: value for value in claim.values}
    for one in adopted:
        values[one.epoch] = ValueRecord(trial.uid, one.epoch, one.metrics, 0.0, trial.fence)
    now = replace(
        trial,
        ckpt_path=saved.path,
        ckpt_sha=saved.sha,
        ckpt_epoch=saved.epoch,
        prev_path=trial.ckpt_path,
        prev_sha=trial.ckpt_sha,
        prev_epoch=trial.ckpt_epoch,
        duration_s=(trial.duration_s or 0.0) + spent_s,
    )
    return replace(claim, trial=now, values=tuple(values[epoch] for epoch in sorted(values)))
