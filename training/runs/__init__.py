"""One training run: the folder it writes to, and what its data were."""

from training.runs.manifest import ManifestRow, read_manifest
from training.runs.run import TrainingRun
from training.runs.settings_file import SETTINGS_FILE, read_values, write_settings

__all__ = ["SETTINGS_FILE", "ManifestRow", "TrainingRun", "read_manifest", "read_values", "write_settings"]
