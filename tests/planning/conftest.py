"""The config of `configs/tiny.py:smoke`, as a pod would train: AdamW, everything rematerialised."""

import importlib.util

import fake_stages
import pytest


@pytest.fixture
def config():
    spec = importlib.util.spec_from_file_location("tiny", fake_stages.ROOT / "configs" / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    c = module.get_config("smoke")
    c.model.remat = "full"
    c.engine.tensor = 2
    for section in (c.student.sft, c.sorm.train, c.refiner.train):
        section.optimizer = "adamw"
    return c
