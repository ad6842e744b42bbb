"""Convolutions along sequences of different lengths."""

from __future__ import annotations

from torch import Tensor, nn


class Convolutions(nn.Module):
    """Stacked 1-D convolutions; each looks twice as far as the one before (dilation 1, 2, 4, ..).

    What is behind the end of a sequence is zero before every layer, as what is beyond both ends of a longer one is, so
    an answer never depends on its neighbours in the batch.

    Args:
        input_size: features per step.
        output_size: channels of every layer.
        layers: how many are stacked; with kernels of 3 they see 3, 7, 15, .. steps.
        kernel: steps that a layer looks at; odd.
        dropout: between layers, in training.
    """

    def __init__(
        self, input_size: int, output_size: int, *, layers: int = 2, kernel: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.layers = nn.ModuleList(
            nn.Conv1d(
                output_size if layer else input_size,
                output_size,
                kernel,
                dilation=2**layer,
                padding=2**layer * (kernel // 2),
            )
            for layer in range(layers)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs_NTF: Tensor, mask_NT1: Tensor) -> Tensor:
        """Run the layers.

        Args:
            inputs_NTF: [N, T, input_size].
            mask_NT1: bool [N, T, 1], false behind the end.

        Returns:
            [N, T, output_size], 0 or more, zero behind the end.
        """
        mask_N1T = mask_NT1.transpose(1, 2)
        states_NCT = inputs_NTF.transpose(1, 2) * mask_N1T
        for index, layer in enumerate(self.layers):
            found_NCT = layer(self.dropout(states_NCT) if index else states_NCT).relu()
            states_NCT = (found_NCT + states_NCT if index else found_NCT) * mask_N1T
        return states_NCT.transpose(1, 2)
