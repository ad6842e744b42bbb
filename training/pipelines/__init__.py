"""The whole way of a run, one module per task: data, model, fit, evaluate, export, gate, publish."""
