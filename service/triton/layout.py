"""What a repository holds, where configurations say which file and which versions of a model are served."""

from __future__ import annotations

from pathlib import Path

from inference.model_config_pb2 import ModelConfig, ModelVersionPolicy
from service.triton.configuration import read_config
from zoo import repository as zoo_repository
from zoo.errors import PackageError
from zoo.repository import ModelVersion, Problem, Scan


def scan(repository: Path) -> Scan:
    """List the versions of a repository that are to be served.

    Without a configuration all versions of a model are; with one, those of its version policy, which is the newest
    where it names none. A configuration that cannot be honoured is a problem of the model.

    Raises:
        RepositoryError: the folder does not exist or cannot be read.
    """
    plain = zoo_repository.scan(repository)
    versions, problems = list(plain.versions), list(plain.problems)
    for name in sorted({version.name for version in versions} | {problem.name for problem in problems}):
        folder = repository / name
        try:
            found = read_config(folder)
        except PackageError as exc:
            # A problem of each version, so that those that are served already go on as they are.
            numbers: list[int | None] = [version.version for version in versions if version.name == name] or [None]
            versions = [version for version in versions if version.name != name]
            problems = [problem for problem in problems if problem.name != name]
            problems += [Problem(name, number, str(exc)) for number in numbers]
            continue
        if found:
            versions, problems = _configured(folder, found[0], versions, problems)
    return Scan(tuple(versions), tuple(problems))


def _configured(
    folder: Path, config: ModelConfig, versions: list[ModelVersion], problems: list[Problem]
) -> tuple[list[ModelVersion], list[Problem]]:
    """The lists with one model as its configuration has it."""
    name = folder.name
    file = config.default_model_filename or zoo_repository.MODEL_FILE
    own = {found.version for found in versions if found.name == name}
    own |= {problem.version for problem in problems if problem.name == name and problem.version}
    served = _chosen(config.version_policy, own)
    versions = [found for found in versions if found.name != name]
    whole = [problem for problem in problems if problem.name != name or problem.version is None]
    if own and not served:
        there = ", ".join(map(str, sorted(own)))
        whole.append(Problem(name, None, f"version_policy chooses none of the versions that are there: {there}"))
    for number in sorted(served):
        path = folder / str(number) / file
        if path.is_file():
            versions.append(ModelVersion(name, number, path))
        else:
            whole.append(Problem(name, number, f"no file {file} in {path.parent}"))
    return versions, whole


def _chosen(policy: ModelVersionPolicy, numbers: set[int]) -> set[int]:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return numbers
        case "specific":
            return numbers & set(policy.specific.versions)
        case _:
            return set(sorted(numbers)[-max(policy.latest.num_versions, 1) :])
