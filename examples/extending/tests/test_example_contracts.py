"""What the example adds is held to posestudy's contracts; run it where the example is installed."""

from typing import ClassVar

from posestudy_reports.writers.contract import WriterContract
from posestudy_runner.engines.contract import EngineContract
from posestudy_runner.preset_contract import PresetContract
from posestudy_studies.designs.contract import DesignContract


class TestLatinSquare(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "latin_square",
        "factors": {"sigma": [1.0, 3.0], "batch_size": [4, 16], "optimizer.lr": [1.0e-4, 1.0e-2]},
    }


class TestPlainTiny(PresetContract):
    preset = "plain_tiny"


class TestProcesses(EngineContract):
    engine = "processes"


class TestRst(WriterContract):
    format = "rst"
