"""The ledger: one class, the operations of the design's section 3, each one transaction. (to be implemented)

Contract (implementations elsewhere rely on exactly these signatures):

    class Ledger:
        @classmethod
        def open(cls, url: str) -> Ledger            # creates and migrates under a lock; LedgerError if newer/unreachable
        def close(self) -> None
        def now(self) -> float                       # database clock, seconds since the epoch

        # studies
        def studies(self) -> list[StudyRecord]
        def study(self, name: str) -> StudyRecord    # NotFoundError naming the nearest known study
        def put_study(self, name: str, document: Json, source: str) -> StudyRecord   # insert, or update document/source
        def snapshot(self, name: str, *, values: bool = True) -> Snapshot
        def apply(self, study_id: int, changes: Sequence[Change]) -> bool
            # one transaction; False (rolled back) where a stage version moved or UNIQUE(stage ordinal / trial number) was hit
        def cancel(self, name: str, number: int | None = None) -> int       # trials cancelled
        def retry(self, name: str, outcomes: Collection[Outcome]) -> int    # DONE with those outcomes -> WAITING, from epoch 0, fence kept

        # one trial, by its worker
        def claim(self, name: str, owner: str, lease_s: float) -> Claim | None
        def renew(self, uid: str, fence: int, lease_s: float) -> bool
        def started(self, uid: str, fence: int, provenance: Json) -> bool   # merges provenance
        def record_epoch(self, uid: str, fence: int, values: Mapping[int, Mapping[str, float]], checkpoint: Checkpoint | None, duration_s: float) -> bool
            # False: fence not mine; the values are then kept in late_value by the same call (own transaction)
        def decide(self, uid: str, fence: int, decision: Json, optuna: Json) -> bool
        def finish(self, uid: str, fence: int, outcome: Outcome, message: str | None, *, metric: str, direction: Direction, peak_memory_mb: float | None) -> bool
            # final/best computed here from accepted values; sets ended, DONE; attempt end FINISHED
        def release(self, uid: str, fence: int, end: AttemptEnd, why: str) -> bool   # -> WAITING
        def cancelled(self, uid: str, fence: int) -> bool                   # whether a user cancelled it meanwhile

        # projections
        def lock(self, name: str, holder: str, lease_s: float) -> bool      # leased lock, re-entrant for its holder
        def unlock(self, name: str, holder: str) -> None
        def projected(self, projection: str) -> dict[str, ProjectedRun]     # by trial uid
        def put_projected(self, run: ProjectedRun) -> None
        def forget_projection(self, projection: str) -> None
"""
