"""What `plan --measure` says of a network that cannot be trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from posestudy.errors import PoseStudyError
from posestudy.vocabulary import Outcome
from posestudy_runner import devices
from posestudy_runner.measurements import _rate
from posestudy_runner.outcomes import Ending

MESSAGE = "RuntimeError: expected 128 channels\n  File net.py, line 7, in forward\n    return conv(x)"


def test_a_network_that_fails_is_named_with_its_error_and_without_the_traceback() -> None:
    order = cast("Any", SimpleNamespace())
    with pytest.raises(PoseStudyError) as refused:
        _rate("class", "the study's model, 64 x 64 px, batch 16", devices.cpu(), None, _failed(), order)
    assert str(refused.value) == (
        "a few iterations of the study's model, 64 x 64 px, batch 16 could not be trained: "
        "RuntimeError: expected 128 channels"
    )
    assert "line 7, in forward" in str(refused.value.__cause__)


def _failed() -> Ending:
    return Ending(Outcome.FAILED, MESSAGE)
