"""OpenPGP by GnuPG: files are encrypted on their way into the spool."""

from tasks.pgp.encryptor import Encryptor, encrypting, verify_keys

__all__ = ["Encryptor", "encrypting", "verify_keys"]
