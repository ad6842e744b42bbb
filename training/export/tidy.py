"""What the exporter notes for its own developers, and no user of a model should get."""

from __future__ import annotations

import onnx


def without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take out, in place, the notes on nodes and values: stack traces with the paths of the machine that exported."""
    _tidy_graph(model.graph)
    for function in model.functions:
        function.ClearField("doc_string")
        function.ClearField("metadata_props")
        _tidy(function.node)
        _tidy(function.value_info)
    return model


def _tidy_graph(graph: onnx.GraphProto) -> None:
    graph.ClearField("doc_string")
    graph.ClearField("metadata_props")
    for parts in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        _tidy(parts)


def _tidy(parts: object) -> None:
    for part in parts:  # type: ignore[attr-defined]  # a repeated field of nodes, values or tensors
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
        for attribute in getattr(part, "attribute", ()):
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _tidy_graph(graph)
