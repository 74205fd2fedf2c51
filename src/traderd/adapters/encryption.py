"""age and gpg as filters: what turns a stream into one that only a recipient reads, and back.

Keys, passphrases and agents are the operator's; none passes through here. Refuses where the program isn't installed.
"""

import shutil
from pathlib import Path
from typing import Final

from traderd.adapters.whole_files import BackupError

_WEBSITE: Final = {"age": "https://age-encryption.org", "gpg": "https://gnupg.org"}


def suffix(encrypt_to: str) -> str:
    """`.age` or `.gpg`, or nothing where nothing is encrypted."""
    kind, _, _ = encrypt_to.partition(":")
    return f".{kind}" if kind else ""


def encrypting(encrypt_to: str) -> list[str]:
    """The command for `age:RECIPIENT` or `gpg:RECIPIENT`, from stdin to stdout; none for "". Raises BackupError."""
    kind, _, recipient = encrypt_to.partition(":")
    if kind == "age":
        return [_program("age"), "--encrypt", "--recipient", recipient]
    if kind == "gpg":
        # The operator named the key: no web of trust is asked about it, since nobody is there to answer, and for the
        # same reason none is fetched from the network. A dump is compressed already.
        quiet = ["--batch", "--no-tty", "--quiet", "--trust-model", "always", "--no-auto-key-locate"]
        quiet += ["--compress-algo", "none"]
        return [_program("gpg"), *quiet, "--recipient", recipient, "--encrypt"]
    return []


def decrypting(file: Path, identity: Path | None) -> list[str]:
    """The command for this file, from stdin to stdout; none where it isn't encrypted. Raises BackupError."""
    if file.suffix == ".age":
        if identity is None:
            raise BackupError(f"{file.name} is encrypted with age: give the file of its identity with --identity")
        return [_program("age"), "--decrypt", "--identity", str(identity)]
    if file.suffix == ".gpg":
        return [_program("gpg"), "--batch", "--quiet", "--decrypt"]
    return []


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BackupError(f"{name} is not installed, and the backup is encrypted with it: see {_WEBSITE[name]}")
    return path
