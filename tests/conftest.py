"""Shared by all tests."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import settings

from worldline import zoo
from worldline.inputs import Data

settings.register_profile("default", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("default")
torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def digits() -> Data:
    return zoo.digits()


@pytest.fixture(scope="session")
def mlp() -> torch.nn.Module:
    return zoo.load("mlp")


@pytest.fixture(scope="session")
def cnn() -> torch.nn.Module:
    return zoo.load("cnn")
