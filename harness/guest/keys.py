"""What one guest alone is given: its host key, who may log in, randomness, and a nonce."""

from __future__ import annotations

import io
import secrets
import struct
import time
from dataclasses import dataclass, field

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

ALGORITHM = "ssh-ed25519"


@dataclass(frozen=True)
class GuestKeys:
    """``client`` is the private key that may log in (OpenSSH text); ``host`` the guest's own.

    ``nonce`` makes the readiness marker one that no other guest and no kernel prints.
    """

    client: str = field(repr=False)
    client_public: str
    host: bytes = field(repr=False)
    host_public: str
    nonce: str

    def client_key(self) -> paramiko.Ed25519Key:
        return paramiko.Ed25519Key(file_obj=io.StringIO(self.client))

    def host_key(self) -> paramiko.PKey:
        """The public half that the guest must show."""
        data = paramiko.hostkeys.HostKeyEntry.from_line(f"guest {self.host_public}")
        assert data is not None
        assert data.key is not None
        return data.key

    def orders(self) -> bytes:
        """What the guest's agent is told, line by line (guests/rootfs/agent.c)."""
        return b"".join(
            word.encode() + b" " + value + b"\n"
            for word, value in (
                ("seed", secrets.token_hex(64).encode()),
                ("clock", b"%.6f" % time.time()),
                ("authorized", self.client_public.encode()),
                ("hostkey", self.host.hex().encode()),
                ("serve", self.nonce.encode()),
            )
        )


def make_keys() -> GuestKeys:
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    return GuestKeys(
        client=client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        client_public=_public(client),
        host=_dropbear(host),
        host_public=_public(host),
        nonce=secrets.token_hex(16),
    )


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _dropbear(key: Ed25519PrivateKey) -> bytes:
    """As dropbear keeps it (buf_put_ed25519_priv_key): the name, then seed and public half."""
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    name = ALGORITHM.encode()
    return struct.pack(">I", len(name)) + name + struct.pack(">I", 64) + seed + public
