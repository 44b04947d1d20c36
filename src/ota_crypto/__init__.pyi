from .hashes import sha256 as sha256
from .hashes import sha384 as sha384
from .hashes import sha512 as sha512
from .memory import wipe as wipe

__all__ = ["sha256", "sha384", "sha512", "wipe"]
