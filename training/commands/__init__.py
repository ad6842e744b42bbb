"""The sub-commands of `python -m training`. They import torch only when they run, so that `--help` is quick."""
