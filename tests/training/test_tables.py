"""`--half-tables`: the file is smaller, and gives what torch gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.data.texts.tokens import Tokenizer
from training.export.half import to_float16
from training.export.tables import round_tables
from training.export.text import export_text, make_torch_run, text_tensor
from training.models.naive_bayes import Blend, HashedNaiveBayes
from zoo.golden import Run, Tensors
from zoo.runtime import make_run, open_session

TEXTS = text_tensor(["연기도 좋고 음악도 좋았다", "a b", ""])


class Mean(nn.Module):
    """The smallest network that looks vectors up."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, ids_NT: Tensor) -> Tensor:
        logits: Tensor = self.head(self.table(ids_NT).mean(1))
        return logits


@pytest.fixture(scope="module")
def exported() -> tuple[Run, bytes, bytes]:
    """The rounded network in torch; its file; and that of the network as it was."""
    torch.manual_seed(0)
    tokenizer = Tokenizer("characters", tuple(map(chr, range(0xAC00, 0xD000))), 12)
    naive_bayes = HashedNaiveBayes((2, 3), 2**15, 2)
    naive_bayes.evidence_OBF.normal_()
    network = Blend(Mean(tokenizer.size), naive_bayes).eval()
    network.weights.fill_(0.5)
    before = export_text(network, tokenizer)
    round_tables(network)
    return make_torch_run(network, tokenizer), export_text(network, tokenizer), before


def logits(onnx_bytes: bytes) -> Tensors:
    return {"logits": make_run(open_session(onnx_bytes))(TEXTS)["logits"]}


def test_the_file_is_smaller_and_gives_what_torch_gives(exported: tuple[Run, bytes, bytes]) -> None:
    expected, half, whole = exported
    tables = 2 * 2**15 + (0xD000 - 0xAC00 + 2) * 16
    assert len(whole) - len(half) == pytest.approx(2 * tables, rel=0.01)
    np.testing.assert_allclose(logits(half)["logits"], expected(TEXTS)["logits"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits(half)["logits"], logits(whole)["logits"], atol=0.01)


def test_it_can_be_converted_to_half_precision_as_a_whole(exported: tuple[Run, bytes, bytes]) -> None:
    expected, half, _ = exported
    np.testing.assert_allclose(logits(to_float16(half))["logits"], expected(TEXTS)["logits"], atol=0.02)
