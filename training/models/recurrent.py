"""Recurrent layers over sequences of different lengths: fused kernels in training, one ONNX node per layer in a file.

The exporter would unroll or trace what PyTorch does with packed sequences; here the layer writes the ONNX operator
itself, with the true lengths as its `sequence_lens`. Both halves compute the same function, and neither looks at what
is behind the end of a sequence, so an answer never depends on its neighbours in the batch.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CellKind = Literal["rnn", "lstm", "gru"]
State = tuple[Tensor, ...]
"""What layers of one direction remember: [layers, N, hidden]; of an LSTM two of these, the second is that of its cells.
"""

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
        reverse: only read it backwards.
        dropout: between stacked layers, in training.
        recurrent_dropout: of the state on its way from step to step, in training; one mask for all steps and the whole
            batch (Y. Gal and Z. Ghahramani, 2016), applied to the columns of the weights, so that the kernel stays
            fused.
    """

    def __init__(
        self,
        cell: CellKind,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        reverse: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.cell: CellKind = cell
        self.hidden_size = hidden_size
        self.recurrent_dropout = recurrent_dropout
        self.directions = 2 if bidirectional else 1
        self.reverse = reverse
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
        if self.reverse:
            return _turned(self._forward(_turned(inputs_NTF, lengths_N), lengths_N), lengths_N)
        return self._forward(inputs_NTF, lengths_N)

    def _forward(self, inputs_NTF: Tensor, lengths_N: Tensor | None) -> Tensor:
        if lengths_N is None:
            outputs: Tensor = self._run(inputs_NTF)[0]
            return outputs
        packed = pack_padded_sequence(inputs_NTF, lengths_N.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self._run(packed)[0], batch_first=True, total_length=inputs_NTF.shape[1])[0]

    def carry(self, inputs_NTF: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run layers of one direction on from a state.

        Args:
            inputs_NTF: [N, T, input_size].
            state: after the step before; None: zeros.

        Returns:
            The last layer's outputs [N, T, hidden_size], and the state after the last step.
        """
        assert self._direction == "forward", "a layer that reads backwards begins at the end. This is a bug."
        if torch.onnx.is_in_onnx_export():
            return self._carry_onnx(inputs_NTF, state)
        before = state if state is None or self.cell == "lstm" else state[0]
        outputs, after = self._run(inputs_NTF, before)
        return outputs, after if self.cell == "lstm" else (after,)

    @property
    def _direction(self) -> str:
        if self.directions == 2:
            return "bidirectional"
        return "reverse" if self.reverse else "forward"

    def _run(self, *arguments: Any) -> Any:
        if not (self.training and self.recurrent_dropout):
            return self.stack(*arguments)
        weights = {name: weight for name, weight in self.stack.named_parameters() if name.startswith("weight_hh")}
        masked = {
            name: weight * nn.functional.dropout(torch.ones_like(weight[0]), self.recurrent_dropout)
            for name, weight in weights.items()
        }
        return functional_call(self.stack, masked, arguments)

    def _forward_onnx(self, inputs_NTF: Tensor, lengths_N: Tensor | None) -> Tensor:
        lengths = None if lengths_N is None else lengths_N.to(torch.int32)
        states_TNF = inputs_NTF.transpose(0, 1)
        for layer in range(self.stack.num_layers):
            states_TNF = self._onnx_layer(layer, states_TNF, lengths)
        return states_TNF.transpose(0, 1)

    def _carry_onnx(self, inputs_NTF: Tensor, state: State | None) -> tuple[Tensor, State]:
        states_TNF, after = inputs_NTF.transpose(0, 1), list[State]()
        for layer in range(self.stack.num_layers):
            before = () if state is None else tuple(part[layer].unsqueeze(0) for part in state)
            states_TNF, *last = self._onnx_node(layer, states_TNF, None, before)
            states_TNF = states_TNF.squeeze(1)
            after.append(tuple(last))
        return states_TNF.transpose(0, 1), tuple(torch.cat(parts) for parts in zip(*after, strict=True))

    def _onnx_layer(self, layer: int, inputs_TNF: Tensor, lengths_N: Tensor | None) -> Tensor:
        states_TDNH = self._onnx_node(layer, inputs_TNF, lengths_N)[0]
        return states_TDNH.transpose(1, 2).flatten(2)

    def _onnx_node(self, layer: int, inputs_TNF: Tensor, lengths_N: Tensor | None, state: State = ()) -> list[Tensor]:
        """Outputs [T, D, N, H], then the last ones [D, N, H], then for an LSTM its cells likewise."""
        steps, batch = inputs_TNF.shape[:2]
        last = [self.directions, batch, self.hidden_size]
        shapes = [[steps, *last], last, last][: 3 if self.cell == "lstm" else 2]
        # linear_before_reset: as PyTorch and cuDNN compute a GRU.
        of_gru = {"linear_before_reset": 1} if self.cell == "gru" else {}
        return list(
            torch.onnx.ops.symbolic_multi_out(
                self.cell.upper(),
                [inputs_TNF, *self._onnx_weights(layer), lengths_N, *state],
                {
                    "hidden_size": self.hidden_size,
                    "direction": self._direction,
                    **of_gru,
                },
                dtypes=[inputs_TNF.dtype] * len(shapes),
                shapes=shapes,
                version=_OPSET,
            )
        )

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


def _turned(sequences_NTF: Tensor, lengths_N: Tensor | None) -> Tensor:
    """Each sequence from its own end to its beginning; what is behind the end stays there."""
    if lengths_N is None:
        return sequences_NTF.flip(1)
    steps_T = torch.arange(sequences_NTF.shape[1], device=sequences_NTF.device)
    from_end_NT = lengths_N[:, None] - 1 - steps_T
    rows_NT1 = torch.where(from_end_NT < 0, steps_T, from_end_NT)[:, :, None]
    return sequences_NTF.gather(1, rows_NT1.expand_as(sequences_NTF))
