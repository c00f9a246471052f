"""Fixtures of the tests of masks."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def tiny_sam(tmp_path, monkeypatch):
    """The file of a Segment Anything network of a few thousand random weights, known as vit_b."""
    import segment_anything

    from tests.helpers.tiny_sam import build

    monkeypatch.setitem(segment_anything.sam_model_registry, 'vit_b', build)
    torch.manual_seed(0)
    torch.save(build().state_dict(), tmp_path / 'sam.pth')
    return tmp_path / 'sam.pth'
