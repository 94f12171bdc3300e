"""That the same cause is called by the same word, whatever library raised it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from posestudy.vocabulary import Outcome
from posestudy_runner.outcomes import Ending, Preempted, Pruned, TimeLimit, classify, last_lines


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OutOfMemoryError("CUDA: tried to allocate 2.00 GiB"), Outcome.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), Outcome.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), Outcome.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublas`"), Outcome.OUT_OF_MEMORY),
        (MemoryError(), Outcome.OUT_OF_MEMORY),
        (OSError(12, "Cannot allocate memory"), Outcome.OUT_OF_MEMORY),
        (FloatingPointError("the loss was nan"), Outcome.DIVERGED),
        (TimeLimit("2 hours"), Outcome.TIMED_OUT),
        (Pruned("after 3"), Outcome.PRUNED),
        (Preempted("SIGTERM"), None),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), Outcome.FAILED),
        (ValueError("an image out of memory lane"), Outcome.FAILED),
        (KeyError("keypoints"), Outcome.FAILED),
    ],
)
def test_errors_have_one_outcome(error: Exception, outcome: Outcome | None) -> None:
    assert classify(error).outcome is outcome


def test_the_cause_of_an_error_counts() -> None:
    wrapped = ValueError("the loader failed")
    wrapped.__cause__ = MemoryError("no room")
    ending = classify(wrapped, peak_memory_mb=1234.5)
    assert ending.outcome is Outcome.OUT_OF_MEMORY
    assert "1234 MiB" in ending.message
    assert ending.peak_memory_mb == 1234.5


def test_a_failure_brings_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    log.write_text("\n".join(f"line {i}" for i in range(1000)))
    message = classify(ValueError("broken\nin two lines"), log=log).message
    assert message.startswith("ValueError: broken\nline 980")
    assert message.endswith("line 999")
    assert last_lines(tmp_path / "nothing") == ""


def test_an_ending_survives_its_frame() -> None:
    for ending in (Ending(Outcome.PRUNED, "after 3", 5.0), Ending(None, "SIGTERM")):
        assert Ending.of(ending.frame()) == ending


def test_a_memory_limit_makes_an_allocation_fail() -> None:
    program = (
        "from posestudy_runner.outcomes import limit_memory, classify\n"
        "limit_memory(300)\n"
        "small = bytearray(50 << 20)\n"
        "try:\n"
        "    large = bytearray(400 << 20)\n"
        "except MemoryError as error:\n"
        "    print(classify(error).outcome)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=400)
    assert done.stdout.strip() == "out_of_memory", done.stderr
