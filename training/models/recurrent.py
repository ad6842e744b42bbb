"""Recurrent layers over sequences of different lengths: fused kernels in training, one ONNX node per layer in a file.

The exporter would unroll or trace what PyTorch does with packed sequences; here the layer writes the ONNX operator
itself, with the true lengths as its `sequence_lens`. Both halves compute the same function, and neither looks at what
is behind the end of a sequence, so an answer never depends on its neighbours in the batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CellKind = Literal["rnn", "lstm", "gru"]

_MODULES: dict[CellKind, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
# Where ONNX wants each gate among PyTorch's: LSTM i,f,g,o -> i,o,f,c; GRU r,z,n -> z,r,h.
_GATES_ONNX: dict[CellKind, tuple[int, ...]] = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
_OPSET = 14  # the last one that changed these three operators before 22, which added only bfloat16


class Recurrent(nn.Module):
    """Stacked RNN (tanh), LSTM or GRU, one direction or both.

    Args:
        cell: the kind of cell.
        input_size: features per step.
        hidden_size: width of one direction's state.
        layers: how many are stacked.
        bidirectional: also read each sequence backwards, from its own end; outputs are concatenated.
        dropout: between stacked layers, in training.
    """

    def __init__(
        self,
        cell: CellKind,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.cell: CellKind = cell
        self.hidden_size = hidden_size
        self.directions = 2 if bidirectional else 1
        self.output_size = hidden_size * self.directions
        self.stack = _MODULES[cell](
            input_size,
            hidden_size,
            num_layers=layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,  # PyTorch warns where there is nothing between layers
            batch_first=True,
        )

    def forward(self, inputs_NTF: Tensor, lengths_N: Tensor | None = None) -> Tensor:
        """Run the layers.

        Args:
            inputs_NTF: [N, T, input_size].
            lengths_N: int64 [N], 1 to T; None: all sequences fill all T steps.

        Returns:
            The last layer's outputs [N, T, output_size], zero behind each sequence's end.
        """
        if torch.onnx.is_in_onnx_export():
            return self._forward_onnx(inputs_NTF, lengths_N)
        if lengths_N is None:
            outputs: Tensor = self.stack(inputs_NTF)[0]
            return outputs
        packed = pack_padded_sequence(inputs_NTF, lengths_N.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.stack(packed)[0], batch_first=True, total_length=inputs_NTF.shape[1])[0]

    def _forward_onnx(self, inputs_NTF: Tensor, lengths_N: Tensor | None) -> Tensor:
        lengths = None if lengths_N is None else lengths_N.to(torch.int32)
        states_TNF = inputs_NTF.transpose(0, 1)
        for layer in range(self.stack.num_layers):
            states_TNF = self._onnx_layer(layer, states_TNF, lengths)
        return states_TNF.transpose(0, 1)

    def _onnx_layer(self, layer: int, inputs_TNF: Tensor, lengths_N: Tensor | None) -> Tensor:
        steps, batch = inputs_TNF.shape[:2]
        direction = "bidirectional" if self.directions == 2 else "forward"
        # linear_before_reset: as PyTorch and cuDNN compute a GRU.
        of_gru = {"linear_before_reset": 1} if self.cell == "gru" else {}
        states_TDNH = torch.onnx.ops.symbolic_multi_out(
            self.cell.upper(),
            [inputs_TNF, *self._onnx_weights(layer), lengths_N],
            {"hidden_size": self.hidden_size, "direction": direction, **of_gru},
            dtypes=[inputs_TNF.dtype],
            shapes=[[steps, self.directions, batch, self.hidden_size]],
            version=_OPSET,
        )[0]
        return states_TDNH.transpose(1, 2).flatten(2)

    def _onnx_weights(self, layer: int) -> list[Tensor]:
        """W [D, gates * H, F], R [D, gates * H, H], B [D, 2 * gates * H] of one layer."""
        suffixes = ["", "_reverse"][: self.directions]

        def stacked(name: str) -> Tensor:
            return torch.stack([self._reorder(getattr(self.stack, f"{name}_l{layer}{end}")) for end in suffixes])

        biases = torch.cat([stacked("bias_ih"), stacked("bias_hh")], dim=1)
        return [stacked("weight_ih"), stacked("weight_hh"), biases]

    def _reorder(self, parameter: Tensor) -> Tensor:
        # Slices, not chunk(): the exporter cannot fold Split, and would leave the reordering in the file.
        starts = [gate * self.hidden_size for gate in _GATES_ONNX[self.cell]]
        return torch.cat([parameter[start : start + self.hidden_size] for start in starts])
