"""A model on disk, for tests of its use: what it says does not matter, only that it is the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

import audiocls
from audiocls.classifier.description import Description
from audiocls.classifier.graph import write_graph
from audiocls.classifier.model import Model, installed_versions


def saved(folder: Path, store: audiocls.Store, architecture: str = "lstm", **known: Any) -> Path:
    """A model with weights as they come, which differ between classes enough."""
    torch.manual_seed(0)
    description = Description.of(store, architecture, installed_versions())
    module = Model(dataclasses.replace(description, **known), mean=-40.0, deviation=20.0)
    with torch.no_grad():
        module.temperature.fill_(0.1)
    module.eval().save(folder)
    write_graph(folder)
    return folder
