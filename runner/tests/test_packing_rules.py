"""Who is let onto a GPU beside whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import OpenStage
from posestudy.testing import new_cell
from posestudy.vocabulary import Direction, Outcome
from posestudy_runner import measurements
from posestudy_runner.devices import Device
from posestudy_runner.gpu_readings import Reading, UnreadableError
from posestudy_runner.gpu_seats import Seat
from posestudy_runner.memory_needs import CONTEXT_MB, Allocated, Need, Needs
from posestudy_runner.next_trial import NextTrial
from posestudy_runner.packing import Packing
from posestudy_runner.packing_rules import most_per_gpu, room_mb
from posestudy_studies.costs import Rate, class_of

GPU = "Stand-in GPU"
ZERO, ONE = Device("cuda:0", GPU, "zero"), Device("cuda:1", GPU, "one")
SMALL = class_of({"model": "resnet50", "input_size": [128, 128], "batch_size": 16})
SMALLER = class_of({"model": "resnet50", "input_size": [128, 96], "batch_size": 16})
LARGE = class_of({"model": "resnet50", "input_size": [384, 288], "batch_size": 64})


class Machine:
    """GPUs of 10,000 MiB, as the driver tells of them."""

    def __init__(self) -> None:
        self.held: dict[str, dict[int, float | None]] = {"zero": {}, "one": {}}
        self.busy: float | None = 0.3
        self.tells_processes = True
        self.exclusive = False
        self.lost = False

    def read(self, uuid: str) -> Reading:
        if self.lost:
            raise UnreadableError("NVML: Unknown Error")
        used = sum(mb or 0.0 for mb in self.held[uuid].values())
        held = dict(self.held[uuid]) if self.tells_processes else {}
        return Reading(10_000.0, 10_000.0 - used, self.busy, held, self.exclusive)


def trial(number: int, cost_class: str = SMALL, *, alone: bool = False) -> NextTrial:
    return NextTrial(f"uid {number}", number, cost_class, alone)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def packed(machine: Machine, said: list[str]) -> Callable[..., Packing]:
    def make(*seen: Need, gpus: tuple[Device, ...] = (ZERO,), most: int = 8, by_load: bool = True) -> Packing:
        return Packing(gpus, most, 16, by_load=by_load, reader=machine, needs=Needs(seen), say=said.append)

    return make


def start(packed: Packing, machine: Machine, number: int, mb: float, *, on: Device = ZERO, kind: str = SMALL) -> Seat:
    """A trial that was let in, and holds `mb` MiB."""
    assert packed.refusal(on, trial(number, kind)) is None
    seat = packed.sit(on, trial(number, kind))
    seat.runs(1000 + number)
    machine.held[str(on.uuid)][1000 + number] = mb
    return seat


def end(packed: Packing, machine: Machine, seat: Seat) -> None:
    del machine.held[str(seat.gpu.device.uuid)][int(seat.pid or 0)]
    seat.leave()


def an_epoch(packed: Packing, seat: Seat, allocated_mb: float, samples: int = 10) -> None:
    for _ in range(samples):
        packed.sample()
    seat.hears({"type": "epoch", "epoch": 1, "metrics": {"memory_mb": allocated_mb}})


def known(mb: float = 2000.0, busy: float | None = 0.2, kind: str = SMALL) -> Need:
    return Need(kind, GPU, mb, busy)


def test_the_number_of_slots_is_what_was_asked_for() -> None:
    assert most_per_gpu(None, None, 2, 16) == 1
    assert most_per_gpu(None, 2, 2, 16) == 1
    assert most_per_gpu(None, 5, 2, 16) == 3, "more workers than GPUs share them"
    assert most_per_gpu(3, None, 2, 16) == 3
    assert most_per_gpu("auto", None, 2, 16) == 4, "two cores each"
    assert most_per_gpu("auto", None, 1, 64) == 8
    assert most_per_gpu("auto", None, 1, 1) == 1


def test_room_is_what_is_left_when_all_have_grown() -> None:
    now = Reading(10_000.0, 6_000.0, 0.5)
    assert room_mb(now, [3000.0, 2000.0], [1000.0, 2000.0], 0.0) == 6000 - 2000 - 512, "one has 2000 to come"
    assert room_mb(now, [3000.0, 2000.0], [1000.0, None], 0.0) == 6000 - 4000 - 512, "the second begins"
    assert room_mb(now, [3000.0, 2000.0], [None, None], 2500.0) == 10_000 - 5000 - 2500 - 512
    crowded = Reading(10_000.0, 1_000.0, 0.5)
    assert room_mb(crowded, [3000.0, 2000.0], [None, None], 0.0) == 1000 - 512, "who took the rest came later"
    assert room_mb(Reading(80_000.0, 80_000.0, 0.0), [], [], 0.0) == 76_000, "a twentieth of a large GPU stays free"


def test_the_first_of_its_kind_is_alone_until_it_has_told_of_an_epoch(
    packed, machine: Machine, said: list[str]
) -> None:
    shared = packed()
    first = start(shared, machine, 1, 2000.0)
    assert "is not known yet" in str(shared.refusal(ZERO, trial(2)))
    assert shared.closed(ZERO) is not None, "whoever is next"
    an_epoch(shared, first, 1100.0)
    assert shared.closed(ZERO) is None
    assert shared.refusal(ZERO, trial(2)) is None
    assert "takes 2000 MiB, keeps it busy 30% of the time; up to 3 share the GPU" in said[-1]
    assert not first.shared
    second = start(shared, machine, 2, 2000.0)
    assert first.shared
    assert second.shared


def test_what_a_trial_takes_later_is_learned_beside_others_as_well(packed, machine: Machine) -> None:
    shared = packed(known(2000.0))
    first = start(shared, machine, 1, 2000.0)
    start(shared, machine, 2, 2000.0)
    machine.held["zero"][1001] = 4500.0
    an_epoch(shared, first, 3000.0)
    assert shared.needs.of(SMALL, GPU) == known(4500.0)
    assert "4500 MiB" in str(shared.refusal(ZERO, trial(3)))


def test_an_evaluation_says_nothing_of_a_training(packed, machine: Machine) -> None:
    shared = packed()
    evaluation = start(shared, machine, 1, 1200.0)
    evaluation.trains = False
    an_epoch(shared, evaluation, 300.0)
    end(shared, machine, evaluation)
    assert shared.needs.of(SMALL, GPU) is None


def test_another_kind_waits_for_a_gpu_to_itself(packed, machine: Machine) -> None:
    shared = packed(known(), gpus=(ZERO, ONE))
    start(shared, machine, 1, 2000.0)
    assert "nothing is known yet" in str(shared.refusal(ZERO, trial(2, LARGE)))
    start(shared, machine, 2, 9000.0, on=ONE, kind=LARGE)
    assert "is not known yet" in str(shared.refusal(ONE, trial(3)))
    assert shared.refusal(ZERO, trial(3)) is None


def test_a_smaller_one_of_a_known_network_needs_no_measurement() -> None:
    needs = Needs([known(2000.0), known(9000.0, 0.8, LARGE)])
    assert needs.of(SMALLER, GPU) == known(2000.0), "the nearest larger one"
    assert needs.of(SMALLER, "another GPU") is None
    assert Needs([known(kind=SMALLER)]).of(SMALL, GPU) is None
    other = class_of({"model": "resnet18", "input_size": [64, 64], "batch_size": 2})
    assert needs.of(other, GPU) is None


def test_what_tensors_took_is_enough_to_know_the_memory(packed, machine: Machine) -> None:
    needs = Needs(allocated=[Allocated(SMALL, GPU, 1000.0), Allocated(SMALL, GPU, 800.0)])
    assert needs.of(SMALL, GPU) == Need(SMALL, GPU, 1250.0 + CONTEXT_MB)
    needs.learn(known(1500.0))
    assert needs.of(SMALL, GPU) == known(1000.0 + CONTEXT_MB), "a peak between two looks at the driver"
    needs.learn(known(2500.0, None))
    assert needs.of(SMALL, GPU) == known(2500.0)


def test_a_gpu_that_one_trial_fills_is_not_shared(packed, machine: Machine) -> None:
    busy = packed(known(busy=0.93))
    start(busy, machine, 1, 2000.0)
    assert "busy" in str(busy.refusal(ZERO, trial(2)))
    asked_for = packed(known(busy=0.93), most=2, by_load=False)
    start(asked_for, machine, 1, 2000.0)
    assert asked_for.refusal(ZERO, trial(2)) is None
    start(asked_for, machine, 2, 2000.0)
    assert "has 2 trials" in str(asked_for.refusal(ZERO, trial(3)))


def test_trials_are_added_until_together_they_fill_it(packed, machine: Machine) -> None:
    shared = packed(known(1000.0, 0.4))
    for number in (1, 2, 3):
        start(shared, machine, number, 1000.0)
    assert "busy" in str(shared.refusal(ZERO, trial(4)))


def test_what_others_compute_counts_as_well(packed, machine: Machine) -> None:
    shared = packed(known(1000.0, 0.2))
    machine.busy = 0.97
    start(shared, machine, 1, 1000.0)
    for _ in range(10):
        shared.sample()
    assert "busy" in str(shared.refusal(ZERO, trial(2)))


def test_without_a_word_on_how_busy_it_is_auto_does_not_share(packed, machine: Machine, said: list[str]) -> None:
    """As of a MIG slice."""
    machine.busy = None
    shared = packed()
    first = start(shared, machine, 1, 2000.0)
    an_epoch(shared, first, 1100.0)
    assert "how busy" in str(shared.refusal(ZERO, trial(2)))
    assert "it has the GPU to itself" in said[-1]
    asked_for = packed(known(busy=None), most=3, by_load=False)
    start(asked_for, machine, 1, 2000.0)
    assert asked_for.refusal(ZERO, trial(2)) is None


@pytest.mark.parametrize("tells_processes", [True, False])
def test_memory_that_others_take_is_not_promised(packed, machine: Machine, *, tells_processes: bool) -> None:
    machine.tells_processes = tells_processes
    shared = packed(known(3000.0))
    start(shared, machine, 1, 500.0)
    assert shared.refusal(ZERO, trial(2)) is None
    machine.held["zero"][77] = 6000.0
    assert "3000 MiB" in str(shared.refusal(ZERO, trial(2)))
    machine.held["zero"][77] = 0.0
    assert shared.refusal(ZERO, trial(2)) is None


def test_an_empty_gpu_is_waited_for_only_where_others_surely_hold_it(packed, machine: Machine, said: list[str]) -> None:
    shared = packed(known(3000.0))
    machine.held["zero"][77] = 8000.0
    assert "other processes hold the rest" in str(shared.refusal(ZERO, trial(1)))
    shared.refusal(ZERO, trial(1))
    assert len(said) == 1, "it is said once"
    assert shared.refusal(ZERO, trial(2, LARGE)) is None, "nothing is known of it"
    machine.tells_processes = False
    assert shared.refusal(ZERO, trial(1)) is None
    hopeless = packed(known(9900.0))
    machine.tells_processes = True
    assert hopeless.refusal(ZERO, trial(1)) is None, "it would not fit without them either"


def test_a_trial_that_ended_for_its_neighbours_has_the_gpu_to_itself(packed, machine: Machine) -> None:
    shared = packed(known(1000.0))
    first = start(shared, machine, 1, 1000.0)
    assert "to itself" in str(shared.refusal(ZERO, trial(2, alone=True)))
    end(shared, machine, first)
    assert shared.refusal(ZERO, trial(2, alone=True)) is None
    lonely = shared.sit(ZERO, trial(2, alone=True))
    assert "to itself" in str(shared.refusal(ZERO, trial(3)))
    assert not lonely.shared


def test_only_ends_that_neighbours_may_have_caused_are_excused(packed, machine: Machine) -> None:
    shared = packed(known(1000.0))
    first = start(shared, machine, 1, 1000.0)
    assert first.excuse(Outcome.OUT_OF_MEMORY, "out of memory") is None, "nobody was there"
    start(shared, machine, 2, 1000.0)
    assert first.excuse(Outcome.COMPLETED, None) is None
    assert first.excuse(Outcome.DIVERGED, "the loss was nan") is None
    assert first.excuse(Outcome.FAILED, "ValueError: no such keypoint\nlog: cuda:0") is None
    assert "failed" in str(first.excuse(Outcome.FAILED, "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"))
    assert shared.refusal(ZERO, trial(3)) is None
    assert "out_of_memory" in str(first.excuse(Outcome.OUT_OF_MEMORY, "CUDA out of memory"))
    assert "short beside others" in str(shared.refusal(ZERO, trial(3))), "what was known of its kind was too little"


def test_a_seat_stays_shared_when_the_neighbour_has_left(packed, machine: Machine) -> None:
    shared = packed(known(1000.0))
    first = start(shared, machine, 1, 1000.0)
    end(shared, machine, start(shared, machine, 2, 1000.0))
    assert first.excuse(Outcome.OUT_OF_MEMORY, None) is not None


def test_a_gpu_in_exclusive_mode_is_not_shared(packed, machine: Machine) -> None:
    machine.exclusive = True
    shared = packed(known(1000.0), by_load=False)
    start(shared, machine, 1, 1000.0)
    assert "one process at a time" in str(shared.refusal(ZERO, trial(2)))


def test_a_gpu_that_vanishes_takes_one_at_a_time_and_it_is_said(packed, machine: Machine, said: list[str]) -> None:
    shared = packed(known(1000.0), by_load=False)
    first = start(shared, machine, 1, 1000.0)
    machine.lost = True
    for _ in range(3):
        shared.sample()
        assert "cannot be read" in str(shared.refusal(ZERO, trial(2)))
    assert said == ["cuda:0 cannot be read any more (NVML: Unknown Error): one trial at a time on it"]
    first.leave()
    assert shared.refusal(ZERO, trial(2)) is None
    machine.lost = False
    start(shared, machine, 2, 1000.0)
    assert shared.refusal(ZERO, trial(3)) is None


def test_without_a_driver_to_ask_a_number_is_taken_at_its_word(packed, machine: Machine, said: list[str]) -> None:
    machine.lost = True
    asked_for = packed(most=2, by_load=False)
    assert "up to 2 trials share it unseen" in said[-1]
    for number in (1, 2):
        assert asked_for.refusal(ZERO, trial(number)) is None
        assert asked_for.sit(ZERO, trial(number)).cores == 8
    assert asked_for.refusal(ZERO, trial(3)) is not None
    alone = packed()
    assert "one trial at a time" in said[-1]
    alone.sit(ZERO, trial(1))
    assert alone.refusal(ZERO, trial(2)) is not None


def test_the_gpu_with_fewer_trials_takes_the_next_one(packed, machine: Machine) -> None:
    shared = packed(known(1000.0), gpus=(ZERO, ONE))
    start(shared, machine, 1, 1000.0)
    assert "fewer" in str(shared.refusal(ZERO, trial(2)))
    machine.held["one"][77] = 9500.0
    assert shared.refusal(ZERO, trial(2)) is None, "others hold the emptier one"


def test_cores_are_shared_by_as_many_as_will_share_the_gpu(packed, machine: Machine) -> None:
    shared = packed(known(2200.0, 0.1), gpus=(ZERO, ONE))
    assert shared.sit(ZERO, trial(1)).cores == 2, "four fit on each of two"
    assert shared.sit(ONE, trial(2, LARGE)).cores == 8, "the first of its kind has its GPU's part"
    assert packed(known(2000.0, 0.95)).sit(ZERO, trial(1)).cores == 16, "it fills the GPU"
    assert packed(known()).sit(ZERO, trial(1, alone=True)).cores == 16


def test_what_was_seen_and_what_was_measured_are_kept_side_by_side(home: Home, sqlite_ledger: Ledger) -> None:
    measured = Rate(LARGE, GPU, 0.1, 0.01, 1.0, None, 4000.0, "measured")
    measurements.save(home, [measured])
    measurements.save_needs(home, Needs([known(2000.0)]))
    measurements.save_needs(home, Needs([known(2500.0, 0.5)]))
    measurements.save(home, [measured])
    assert measurements.saved(home) == [measured]
    kept = measurements.needs(home, sqlite_ledger)
    assert kept.of(SMALL, GPU) == known(2500.0, 0.5)
    assert kept.of(LARGE, GPU) == Need(LARGE, GPU, 1.25 * 4000.0 + CONTEXT_MB)


def test_finished_trials_tell_what_their_class_takes(home: Home, sqlite_ledger: Ledger) -> None:
    cell = replace(new_cell("a", seeds=(0, 1, 2)), config=json.loads(SMALL))
    study = sqlite_ledger.put_study("s", {}, "")
    sqlite_ledger.apply(study.id, [OpenStage(0, "only", "variants", "a", {}, (cell,))])
    for outcome, peak_mb, evaluated in (
        (Outcome.COMPLETED, 1000.0, None),
        (Outcome.OUT_OF_MEMORY, 9000.0, None),
        (Outcome.COMPLETED, 8000.0, {"study": "s"}),
    ):
        claim = sqlite_ledger.claim("s", "w", 60.0)
        assert claim is not None
        uid = claim.trial.uid
        sqlite_ledger.started(uid, 1, {"device": "cuda:0", "device_name": GPU, "evaluated": evaluated})
        ended = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": peak_mb}
        assert sqlite_ledger.finish(uid, 1, outcome, None, **ended)
    known_now = measurements.needs(home, sqlite_ledger).of(SMALL, GPU)
    assert known_now == Need(SMALL, GPU, 1.25 * 1000.0 + CONTEXT_MB)


def test_a_class_is_told_from_the_ledgers_configuration_as_from_a_training() -> None:
    from posestudy_studies.costs import cost_class
    from posestudy_studies.training import Training

    training = Training.model_validate(
        {"model": "resnet50", "input_size": [128, 128], "epochs": 1, "batch_size": 16, "optimizer": {"lr": 1.0e-3}}
    )
    assert class_of(json.loads(training.model_dump_json())) == cost_class(training)
