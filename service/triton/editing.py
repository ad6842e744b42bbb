"""Sets instances and threads of a model in its `config.pbtxt`, and leaves all else in the file as it is.

The text is edited, not printed anew, so that comments and the order of fields stay; the result is read again and must
say what was meant, or nothing is written.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from inference.model_config_pb2 import ModelConfig, ModelInstanceGroup
from service.triton.configuration import CONFIG_FILE, THREADS, read_config
from service.triton.files import read_file
from zoo.errors import PackageError

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<open>[{<\[])|(?P<close>[}>\]])|(?P<word>[^\s,;:#{}<>\[\]"']+)"""
)
_REST_OF_LINE = re.compile(r"[ \t]*[,;]?[ \t]*\n?")
_ALL_VERSIONS = "version_policy { all { } }  # as without this file; with one, it is the newest by default\n"


@dataclass(frozen=True)
class ConfigEdit:
    """A `config.pbtxt` as it is to be."""

    folder: Path
    """Of the model."""
    lines: str
    """What is set, to be pasted by those who cannot write the file."""
    text: str
    """The whole file."""
    changes: tuple[str, ...]
    """What becomes of what, one sentence each; none: the file says so already."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / CONFIG_FILE

    def write(self) -> None:
        """Put the file into its place, whole or not at all.

        Raises:
            PackageError: the folder cannot be written.
        """
        target = self.path.resolve()
        aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with aside.open("w", encoding="utf-8") as file:
                file.write(self.text)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, aside)
            aside.replace(target)
        except OSError as exc:
            raise PackageError(f"{self.path} cannot be written: {exc.strerror}") from exc
        finally:
            with suppress(OSError):  # on a file system that is read only, there is none to remove
                aside.unlink()


def edit_config(folder: Path, *, instances: int, threads: int | None, on_cpu: bool) -> ConfigEdit:
    """Work out the file of a model with so many instances, of so many threads each; nothing is written yet.

    Args:
        folder: of the model.
        instances: runs at a time.
        threads: cores that one run may use; None: as the file has it.
        on_cpu: where the model runs, which is said where the file does not.

    Raises:
        PackageError: the file cannot be honoured as it is, or is written in a way that this cannot edit.
    """
    exists = read_config(folder) is not None
    text = read_file(folder, CONFIG_FILE, CONFIG_FILE).decode() if exists else _ALL_VERSIONS
    before = text_format.Parse(text, ModelConfig())
    wanted = _with_tuning(before, instances, threads, on_cpu=on_cpu)
    group = f"instance_group [ {{ {_on_one_line(wanted.instance_group[0])} }} ]"
    fields = {"instance_group": group}
    if threads is not None:
        fields["parameters"] = f'parameters {{ key: "{THREADS}" value {{ string_value: "{threads}" }} }}'
    after = text if wanted == before else _replaced(text, fields)
    if not _says(after, wanted):
        lines = "\n".join(fields.values())
        raise PackageError(f"{folder / CONFIG_FILE} is written in a way that cannot be edited here; set\n{lines}")
    lines = ("" if exists else _ALL_VERSIONS) + "".join(f"{line}\n" for line in fields.values())
    return ConfigEdit(folder, lines, after, tuple(_changes(before, wanted, new=not exists)))


def _with_tuning(config: ModelConfig, instances: int, threads: int | None, *, on_cpu: bool) -> ModelConfig:
    """The configuration with one group of instances, which keeps its name and its place."""
    wanted = ModelConfig()
    wanted.CopyFrom(config)
    del wanted.instance_group[1:]
    if not wanted.instance_group:
        kind = ModelInstanceGroup.KIND_CPU if on_cpu else ModelInstanceGroup.KIND_GPU
        wanted.instance_group.add(kind=kind)
    group = wanted.instance_group[0]
    group.count = max(instances // max(len(group.gpus), 1), 1)
    if threads is not None:
        wanted.parameters[THREADS].string_value = str(threads)
    return wanted


def _replaced(text: str, fields: dict[str, str]) -> str:
    """The text with each field in the place of the first of its kind, or at the end."""
    pieces, position, missing = [], 0, dict(fields)
    for name, start, end in _groups(text):
        if name not in fields or (name == "parameters" and THREADS not in text[start:end]):
            continue
        pieces.append(text[position:start])
        if name in missing:
            pieces.append(missing.pop(name))
            position = end
        else:
            rest = _REST_OF_LINE.match(text, end)
            position = rest.end() if rest else end
    edited = "".join((*pieces, text[position:]))
    added = "".join(f"{line}\n" for line in missing.values())
    return edited + ("\n" if added and edited and not edited.endswith("\n") else "") + added


def _groups(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of every message and list that is in none itself."""
    depth, name, start = 0, "", 0
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "word" if depth == 0:
                name, start = token[0], token.start()
            case "open":
                depth += 1
            case "close":
                depth -= 1
                if depth == 0:
                    yield name, start, token.end()


def _changes(before: ModelConfig, after: ModelConfig, *, new: bool) -> Iterator[str]:
    if new:
        yield "version_policy: all, as without the file"
    groups = [", ".join(_on_one_line(group) for group in config.instance_group) for config in (before, after)]
    if groups[0] != groups[1]:
        yield f"instance_group: {groups[0] or 'none'} -> {groups[1]}"
    threads = [config.parameters[THREADS].string_value if THREADS in config.parameters else "none"
               for config in (before, after)]  # fmt: skip
    if threads[0] != threads[1]:
        yield f"parameters[{THREADS}]: {threads[0]} -> {threads[1]}"


def _says(text: str, wanted: ModelConfig) -> bool:
    try:
        return text_format.Parse(text, ModelConfig()) == wanted
    except text_format.ParseError:
        return False


def _on_one_line(group: ModelInstanceGroup) -> str:
    return text_format.MessageToString(group, as_one_line=True)
