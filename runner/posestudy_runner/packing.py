"""Several trials on one GPU: who is let in beside whom.

The rules, in words, are in docs/running.md ("Several trials on one GPU"). All of it is about trials of one pool; what
anybody else runs on a GPU counts as memory that is not free.
"""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from posestudy.ledger.records import Json
from posestudy_runner.devices import Device
from posestudy_runner.gpu_readings import GpuReader, Reading, UnreadableError
from posestudy_runner.gpu_seats import RECENT, Gpu, Seat
from posestudy_runner.memory_needs import CONTEXT_MB, Need, Needs, memory_of_tensors
from posestudy_runner.next_trial import NextTrial
from posestudy_runner.packing_rules import FULL, fit_by_load, fit_by_memory, margin_mb, room_mb

SAMPLE_S = 0.5
"""Between two looks at a GPU."""
LEAST_SAMPLES = 5
"""Of a trial alone, before it is known how busy it keeps a GPU."""
_MOST_SAMPLES = 1000
_JOIN_S = 2.0
_IDLE = 0.05


class Packing:
    """Lets trials onto the GPUs of a pool.

    Args:
        gpus: those that may have more than one trial.
        most: trials at a time on each.
        cores: of the machine, for all of them.
        by_load: also look how busy a GPU is; and where the driver tells nothing, one trial at a time.
        reader: reads GPUs.
        needs: what is known of the trials.
        say: where lines for the user go.
    """

    def __init__(
        self,
        gpus: Sequence[Device],
        most: int,
        cores: int,
        *,
        by_load: bool,
        reader: GpuReader,
        needs: Needs,
        say: Callable[[str], None],
    ) -> None:
        self.turn = threading.Lock()
        """Held from the look at the next trial until it has its seat: one slot at a time."""
        self._gpus = {gpu.name: Gpu(gpu) for gpu in gpus}
        self._most = most
        self._cores = cores
        self._by_load = by_load
        self._reader = reader
        self._needs = needs
        self._say = say
        self._lock = threading.RLock()
        self._said: set[str] = set()
        self._loners: set[str] = set()
        self._busy: defaultdict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=_MOST_SAMPLES))
        for gpu in self._gpus.values():
            try:
                gpu.seen = self._reading(gpu)
            except UnreadableError as error:
                gpu.blind = not by_load
                instead = f"up to {most} trials share it unseen" if gpu.blind else "one trial at a time on it"
                self._said.add(f"lost {gpu.name}")
                say(f"{gpu.name} cannot be read ({error}): {instead}")

    def covers(self, device: Device) -> bool:
        """Whether `device` may have more than one trial; where not, nothing here is asked."""
        return device.name in self._gpus

    @property
    def needs(self) -> Needs:
        return self._needs

    def closed(self, device: Device) -> str | None:
        """Why no trial, whichever is the next, is let onto `device` now; None where one may be."""
        with self._lock:
            return self._closed(self._gpus[device.name])

    def refusal(self, device: Device, trial: NextTrial) -> str | None:
        """Why `trial` is not let onto `device` now; None where it is."""
        self._look()
        with self._lock:
            gpu = self._gpus[device.name]
            why = self._refusal(gpu, trial)
            emptier = [other for other in self._gpus.values() if len(other.seats) < len(gpu.seats)]
            if why is None and any(self._refusal(other, trial) is None for other in emptier):
                return "a GPU with fewer trials takes the next one"
            return why

    def sit(self, device: Device, trial: NextTrial) -> Seat:
        """Give `trial` its place on `device`, where there was no refusal."""
        self._look()
        with self._lock:
            gpu = self._gpus[device.name]
            if not gpu.seats:
                gpu.before_mb = gpu.seen.used_mb if gpu.seen else 0.0
            seat = Seat(self, gpu, trial, self._share_of_cores(gpu, trial))
            gpu.seats.append(seat)
            if len(gpu.seats) > 1:
                for each in gpu.seats:
                    each.shared = True
            return seat

    def leaves(self, seat: Seat) -> None:
        """`seat` is free again."""
        with self._lock:
            if seat in seat.gpu.seats:
                self._learn(seat)
                seat.gpu.seats.remove(seat)

    def hears(self, seat: Seat, frame: Json) -> None:
        """Note what the trial of `seat` tells of an epoch, or at its end."""
        with self._lock:
            allocated_mb = frame.get("metrics", {}).get("memory_mb") or frame.get("peak_memory_mb") or 0.0
            seat.allocated_mb = max(seat.allocated_mb, float(allocated_mb))
            if frame["type"] == "epoch":
                seat.epochs += 1
                self._learn(seat)

    def is_short_of_memory(self, seat: Seat) -> None:
        """Trials of this kind run alone from now on: what was known of them was too little."""
        with self._lock:
            self._loners.add(seat.trial.cost_class)

    def sample(self) -> None:
        """Look at every GPU once, and note what its trials hold."""
        self._look()
        with self._lock:
            for gpu in self._gpus.values():
                if gpu.seen is not None:
                    self._note(gpu, gpu.seen)

    # ---- what is seen

    def _look(self) -> None:
        """Read every GPU. Never under the lock: where a driver hangs, the trials' news must still be heard."""
        for gpu in self._gpus.values():
            gpu.seen = self._read(gpu)

    def _reading(self, gpu: Gpu) -> Reading:
        if gpu.device.uuid is None:
            raise UnreadableError("torch does not tell its identifier")
        return self._reader.read(gpu.device.uuid)

    def _read(self, gpu: Gpu) -> Reading | None:
        """None where the driver says nothing; that is told once, and again where it came back in between."""
        lost = f"lost {gpu.name}"
        try:
            reading = None if gpu.blind else self._reading(gpu)
        except UnreadableError as error:
            self._say_once(f"{gpu.name} cannot be read any more ({error}): one trial at a time on it", lost)
            return None
        self._said.discard(lost)
        return reading

    def _say_once(self, text: str, key: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._say(text)

    def _note(self, gpu: Gpu, reading: Reading) -> None:
        if reading.busy is not None:
            gpu.recent.append(reading.busy)
        for seat in gpu.seats:
            seat.holds_mb = None if seat.pid is None else reading.held_mb.get(seat.pid)
            if seat.holds_mb is not None:
                seat.held_mb = max(seat.held_mb, seat.holds_mb)
            if reading.busy is not None and seat.trains and not seat.shared:
                # Building a network says nothing of training it.
                seat.computes = seat.computes or reading.busy > _IDLE
                if seat.computes:
                    self._busy[seat.trial.cost_class, gpu.device.description].append(reading.busy)
            self._learn(seat)

    def _learn(self, seat: Seat) -> None:
        """Keep what the trial takes, once it has told of an epoch; later ones may take more, beside others as well."""
        if not seat.epochs or not seat.trains:
            return
        # The growth of the GPU's memory would tell of strangers as well.
        taken_mb = seat.held_mb or memory_of_tensors(seat.allocated_mb)
        key = (seat.trial.cost_class, seat.gpu.device.description)
        samples = self._busy[key]
        busy = statistics.fmean(samples) if len(samples) >= LEAST_SAMPLES else None
        before = self._needs.of(*key)
        self._needs.learn(Need(*key, max(taken_mb, seat.allocated_mb + CONTEXT_MB), busy))
        need = self._needs.of(*key)
        if need is not None and (before is None or (before.busy is None and need.busy is not None)):
            share = "" if need.busy is None else f", keeps it busy {need.busy:.0%} of the time"
            fit = self._fit(seat.gpu, need)
            told = f"{seat.gpu.name}: a trial like {seat.trial.number} takes {need.memory_mb:.0f} MiB{share}"
            self._say(f"{told}; {'it has the GPU to itself' if fit == 1 else f'up to {fit} share the GPU'}")

    # ---- what is decided

    def _refusal(self, gpu: Gpu, trial: NextTrial) -> str | None:
        if not gpu.seats:
            return self._taken_by_strangers(gpu, trial)
        if trial.alone or trial.cost_class in self._loners:
            return f"trial {trial.number} is to have a GPU to itself: memory was short beside others"
        return self._closed(gpu) or (None if gpu.blind else self._too_large(gpu, trial))

    def _closed(self, gpu: Gpu) -> str | None:
        """Why no trial at all is let in beside those on the GPU."""
        if not gpu.seats:
            return None
        if len(gpu.seats) >= self._most:
            return f"{gpu.name} has {len(gpu.seats)} trials"
        if any(seat.trial.alone or seat.trial.cost_class in self._loners for seat in gpu.seats):
            return f"{gpu.crew} has {gpu.name} to itself"
        if gpu.blind:
            return None
        running = [self._needs.of(seat.trial.cost_class, gpu.device.description) for seat in gpu.seats]
        if None in running:
            return f"what {gpu.crew} takes of {gpu.name} is not known yet"
        return self._busy_enough(gpu, [need for need in running if need is not None]) if self._by_load else None

    def _busy_enough(self, gpu: Gpu, running: Sequence[Need]) -> str | None:
        shares = [need.busy for need in running if need.busy is not None]
        if len(shares) < len(running):
            return f"how busy {gpu.crew} keeps {gpu.name} is not known yet"
        recent = statistics.fmean(gpu.recent) if len(gpu.recent) == RECENT else 0.0
        return f"{gpu.crew} keeps {gpu.name} busy" if max(sum(shares), recent) >= FULL else None

    def _too_large(self, gpu: Gpu, trial: NextTrial) -> str | None:
        """Why `trial` does not fit beside those on the GPU, of all of which it is known what they take."""
        need = self._needs.of(trial.cost_class, gpu.device.description)
        if need is None:
            return f"nothing is known yet of what trial {trial.number} takes: it starts on a GPU to itself"
        reading = gpu.seen
        if reading is None:
            return f"{gpu.name} cannot be read"
        if reading.exclusive:
            return f"{gpu.name} is set to one process at a time"
        self._note(gpu, reading)
        needs_mb = []
        for seat in gpu.seats:
            known = self._needs.of(seat.trial.cost_class, gpu.device.description)
            needs_mb.append(max(seat.held_mb, known.memory_mb if known else 0.0))
        room = room_mb(reading, needs_mb, [seat.holds_mb for seat in gpu.seats], gpu.before_mb)
        if need.memory_mb <= room:
            return None
        return f"trial {trial.number} takes {need.memory_mb:.0f} MiB, {gpu.name} has {max(0.0, room):.0f} left"

    def _taken_by_strangers(self, gpu: Gpu, trial: NextTrial) -> str | None:
        """A GPU without a trial of ours takes the next one, but where others' processes hold what it needs."""
        need = self._needs.of(trial.cost_class, gpu.device.description)
        reading = gpu.seen if need is not None else None
        if need is None or reading is None or not reading.held_mb or need.memory_mb <= reading.free_mb:
            return None
        if need.memory_mb > reading.total_mb - margin_mb(reading.total_mb):
            return None
        why = (
            f"trial {trial.number} takes {need.memory_mb:.0f} MiB and {gpu.name} has {reading.free_mb:.0f} free: "
            "other processes hold the rest"
        )
        self._say_once(f"{why}; it waits", f"strangers {gpu.name} {trial.uid}")
        return why

    def _fit(self, gpu: Gpu, need: Need) -> int:
        """How many trials of one kind share the GPU."""
        reading = gpu.seen
        if gpu.blind:
            return self._most
        if reading is None or reading.exclusive or need.cost_class in self._loners:
            return 1
        fit = min(self._most, fit_by_memory(reading, need.memory_mb, gpu.before_mb))
        return max(1, min(fit, fit_by_load(need.busy)) if self._by_load else fit)

    def _share_of_cores(self, gpu: Gpu, trial: NextTrial) -> int:
        """A trial's share of the cores: of those of its GPU's part as many as trials of its kind will share it."""
        need = self._needs.of(trial.cost_class, gpu.device.description)
        if trial.alone:
            sharers = 1
        elif need is not None:
            sharers = self._fit(gpu, need)
        else:
            sharers = self._most if gpu.blind else 1
        return max(1, self._cores // (len(self._gpus) * sharers))


class Watch:
    """Samples a pool's GPUs in a thread of its own while it is entered."""

    def __init__(self, packing: Packing, every_s: float = SAMPLE_S) -> None:
        self._packing = packing
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Not for ever: the driver of a GPU that hangs does not answer.
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._packing.sample()
