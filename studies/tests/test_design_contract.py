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


class TestConditionalGrid(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "grid",
        "factors": {
            "model": ["resnet18", "resnet34"],
            "backbone.frozen_stages": {"levels": [0, 1], "when": {"model": "resnet34"}},
        },
    }


class TestOneAtATime(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "one_at_a_time",
        "variants": {
            "wide": {"sigma": 3.0, "label": "1"},
            "both": {"combine": ["wide", "fast"], "label": "3"},
            "fast": {"optimizer.lr": 0.01},
            "amp": {"amp": True},
        },
        "combine": [["wide", "amp"]],
    }


class TestLeaveOneOut(DesignContract):
    stage: ClassVar = {
        "name": "s",
        "design": "leave_one_out",
        "leave_out": {"slow": {"optimizer.lr": 1e-4}, "narrow": {"sigma": 1.0}},
    }


class TestBisect(DesignContract):
    stage: ClassVar = {"name": "s", "design": "bisect", "factor": "epochs", "between": [8, 40], "tolerance": 4}


class TestBisectOfAFraction(DesignContract):
    stage: ClassVar = {
        "name": "s", "design": "bisect", "factor": "sigma", "between": [1, 3], "tolerance": 0.1,
        "include_baseline": False, "rows": [{"levels": {"sigma": 3}, "label": "wide"}],
    }  # fmt: skip


class TestLeaveOneOutOfAList(DesignContract):
    stage: ClassVar = {
        "name": "s", "design": "leave_one_out", "leave_out": ["augmentation.flip", "augmentation.scale_rotation"],
    }  # fmt: skip
    levels: ClassVar = {"augmentation.flip": {}, "augmentation.scale_rotation": {}}
