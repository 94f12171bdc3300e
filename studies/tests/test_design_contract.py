"""The shipped designs pass the contract that third parties run on theirs."""

from typing import ClassVar

from posestudy_studies.designs.contract import DesignContract


class TestVariants(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "variants",
        "variants": {"small": {"sigma": 1.0, "label": "1"}, "wide": {"optimizer.lr": 0.01, "sigma": 3.0}},
    }


class TestGrid(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "grid",
        "factors": {"input_size": [[64, 64], [96, 96]], "optimizer.lr": [0.001, 0.01], "augmentation.flip": [None, {}]},
    }


class TestTpeSearch(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "search",
        "space": {
            "optimizer.lr": {"log": [1e-5, 1e-2]},
            "batch_size": {"int": [4, 16]},
            "sigma": {"uniform": [1.0, 3.0]},
            "input_size": [[64, 64], [96, 96]],
            "amp": [True, False],
        },
        "cells": 14,
    }


class TestRandomSearch(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "search",
        "space": {"batch_size": [8, 16, 32]},
        "sampler": "random",
        "cells": 5,
    }
