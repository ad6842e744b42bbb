"""One training run: the folder it writes to, and what its data were."""

from training.runs.ledger import LEDGER_FILE, count_test_use, describe_uses
from training.runs.manifest import ManifestRow, read_manifest
from training.runs.run import TrainingRun, run_name
from training.runs.settings_file import SETTINGS_FILE, read_values, write_settings

__all__ = [
    "LEDGER_FILE",
    "SETTINGS_FILE",
    "ManifestRow",
    "TrainingRun",
    "count_test_use",
    "describe_uses",
    "read_manifest",
    "read_values",
    "run_name",
    "write_settings",
]
