"""The ONNX file of a text classifier: tokenizer graph and network, joined into one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from training.data.texts.token_graph import PADDING_ID, UNKNOWN_ID
from training.data.texts.tokens import IDS, Tokenizer
from training.export.recurrent import export_recurrent
from training.export.tables import halve_tables
from training.export.token_network import join_network
from zoo.card import LOGITS, PROBABILITIES, TEXT_INPUT, UNKNOWN_TOKEN_RATE
from zoo.golden import Run, Tensors

OUTPUTS = (PROBABILITIES, LOGITS, UNKNOWN_TOKEN_RATE)
"""Of the graph, in the order in which they stand in the file."""


_PIECE = 100  # characters with a token at least; whole texts, repeated as often as they have tokens, would be a book


class _Answer(nn.Module):
    """The logits of a network, and what else the graph gives: `OUTPUTS`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids_NT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.network(ids_NT)
        return torch.softmax(logits, dim=1), logits, unknown_token_rate(ids_NT)


def unknown_token_rate(ids_NT: Tensor) -> Tensor:
    """The share of each text's tokens that the tokenizer does not know, float32 [N]; 0 of a text without tokens.

    Of the tokens that the network reads: those beyond `max_tokens` do not count.
    """
    tokens_N = (ids_NT != PADDING_ID).sum(1).clamp(min=1)
    return (ids_NT == UNKNOWN_ID).sum(1) / tokens_N


def export_text(network: nn.Module, tokenizer: Tokenizer) -> bytes:
    """Serialise `text` string [N] -> `probabilities`, `logits` float32 [N, classes]; `unknown_token_rate` float32 [N].

    Args:
        network: token ids int64 [N, T] -> logits, in evaluation mode, on the CPU.
        tokenizer: the one that the network was trained with.
    """
    back = export_recurrent(
        _Answer(network),
        torch.ones(3, 11, dtype=torch.int64),
        axes={0: "batch", 1: "time"},
        inputs=[IDS],
        outputs=OUTPUTS,
    )
    opset = next(item.version for item in back.opset_import if item.domain == "")
    front = tokenizer.graph(opset=opset, ir_version=back.ir_version)
    return bytes(join_network(front, halve_tables(back)).SerializeToString())


def text_tensor(texts: Sequence[str]) -> Tensors:
    """Texts as the graph's input."""
    return {TEXT_INPUT: np.array(texts, dtype=object)}


def parity_batches(texts: Sequence[str], sizes: Iterable[int], max_tokens: int) -> list[Tensors]:
    """Batches to compare implementations on: of each size, short to long texts mixed with odd ones.

    The odd ones: a text without any token, one of unknown tokens only, one that is cut.
    """
    by_length = sorted(texts, key=len)
    usual = [by_length[round(share * (len(by_length) - 1))] for share in (0, 0.25, 0.5, 0.75, 1)]
    cut = " ".join([usual[2][:_PIECE]] * (max_tokens + 1))
    pool = [*usual, " ", "\u2603\u2603", cut]
    return [
        text_tensor([pool[(start + step) % len(pool)] for step in range(size)])
        for size in sizes
        for start in range(0, len(pool), size)
    ]


def make_torch_run(network: nn.Module, tokenizer: Tokenizer) -> Run:
    """The trained model with the inputs and outputs of the published graph, computed by torch."""
    answer = _Answer(network).eval()

    def run(inputs: Tensors) -> Tensors:
        rows = [torch.from_numpy(row) for row in tokenizer.encode(list(inputs[TEXT_INPUT]))]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # with 0, which is the padding id
        with torch.inference_mode():
            outputs = answer(ids)
        return {name: value.numpy() for name, value in zip(OUTPUTS, outputs, strict=True)}

    return run
