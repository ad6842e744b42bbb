"""The file of bearer tokens: read at start, and again when it changes.

    # name      roles          token
    shop        predict,read   sha256:<64 hexadecimal digits>
    operations  read,admin     <the token itself>

or, as JSON: [{"name": "shop", "roles": ["predict", "read"], "token": "sha256:..."}, ...]. Make a token with `openssl
rand -base64 24`, and its hash with `printf %s TOKEN | sha256sum`. A fast hash is enough for random tokens: there is
nothing to guess them from.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Any

from service.errors import StartError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often, at most, the file is looked at for changes."""
MIN_LENGTH = 16
"""Characters of a token; a shorter one can be guessed."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Role(StrEnum):
    """What a token lets its holder do; none includes another."""

    PREDICT = "predict"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True)
class Token:
    """A caller that the operator knows."""

    name: str
    roles: frozenset[Role]
    digest: bytes
    """SHA-256 of the token; the token itself is not kept."""


class TokenFile:
    """The tokens of a file, as it is now."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = monotonic) -> None:
        """Read the file.

        Raises:
            StartError: it cannot be read, or a line is not right.
        """
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._stamp = stamp(path)
        self._tokens = tuple(read_tokens(path))

    def find(self, token: str) -> Token | None:
        """Whose token it is; every one is compared, in constant time, so that the answer's time says nothing."""
        self._refresh()
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        found = None
        for known in self._tokens:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def _refresh(self) -> None:
        """Read the file again if it changed. Where it cannot be read, the tokens from before stay."""
        if self._clock() - self._looked < LOOK_SECONDS:
            return
        self._looked = self._clock()
        now = stamp(self._path)
        if now == self._stamp:
            return
        self._stamp = now
        try:
            self._tokens = tuple(read_tokens(self._path))
        except StartError as exc:
            log.error("%s; the tokens from before stay", exc)
        else:
            log.info("--tokens %s: %d tokens", self._path, len(self._tokens))


def read_tokens(path: Path) -> list[Token]:
    """Read a file of tokens.

    Raises:
        StartError: it cannot be read, or an entry is not right; the text never has a token in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise StartError(f"--tokens {path} cannot be read: {reason}") from exc
    try:
        entries = _json_entries(text) if text.lstrip().startswith("[") else _line_entries(text)
        tokens = [_token(*entry) for entry in entries]
    except ValueError as exc:
        raise StartError(f"--tokens {path}: {exc}") from exc
    names = [token.name for token in tokens]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise StartError(f"--tokens {path}: the name {twice[0]} is there twice; names tell callers apart in the log")
    if not tokens:
        raise StartError(f"--tokens {path} has no tokens, so that nobody could call; add a line: NAME ROLE TOKEN")
    return tokens


def _line_entries(text: str) -> Iterator[tuple[str, str, list[str], str]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3:
            raise ValueError(f"line {number} has {len(words)} words; write NAME ROLE[,ROLE] TOKEN")
        name, roles, token = words
        yield f"line {number}", name, roles.split(","), token


def _json_entries(text: str) -> Iterator[tuple[str, str, list[str], str]]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as exc:
        raise ValueError(f"line {exc.lineno} is not JSON") from exc
    for number, item in enumerate(items, 1):
        if not (isinstance(item, dict) and item.keys() == {"name", "roles", "token"}):
            raise ValueError(f"entry {number} needs name, roles and token, and nothing else")
        name, roles, token = item["name"], item["roles"], item["token"]
        if not (isinstance(name, str) and isinstance(token, str) and _is_list_of_text(roles)):
            raise ValueError(f"entry {number}: name and token are texts, roles is a list of texts")
        yield f"entry {number}", name, roles, token


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _token(where: str, name: str, roles: list[str], token: str) -> Token:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: the name {name!r} is not letters, digits, . _ - (64 at most)")
    if unknown := [role for role in roles if role not in set(Role)]:
        raise ValueError(f"{where}: unknown role {unknown[0]!r}; there are {', '.join(Role)}")
    if not roles:
        raise ValueError(f"{where}: {name} has no role; there are {', '.join(Role)}")
    if match := _HASH.fullmatch(token):
        digest = bytes.fromhex(match[1])
    elif token.startswith("sha256:"):
        raise ValueError(f"{where}: after sha256: come 64 hexadecimal digits")
    elif len(token) < MIN_LENGTH:
        raise ValueError(f"{where}: the token of {name} is shorter than {MIN_LENGTH} characters; make a random one")
    else:
        digest = hashlib.sha256(token.encode()).digest()
    return Token(name, frozenset(map(Role, roles)), digest)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Tells contents apart without reading them; a secret of Kubernetes is a link that is moved to another file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
