"""A self-signed certificate, so that browsers of other machines have what WebXR asks for: HTTPS."""

import ipaddress
import socket
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from worldgen.errors import UserError

_VALID_FOR = timedelta(days=7)


def server_context(hosts: Sequence[str]) -> ssl.SSLContext:
    """What a server at those names and addresses talks HTTPS with; its key is new, and never kept on disk.

    Raises UserError without the library that makes certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # ssl reads keys from files alone
        path = Path(folder) / "both.pem"
        path.touch(mode=0o600)
        path.write_bytes(_key_and_certificate(hosts))
        context.load_cert_chain(path)
    return context


def address_in_network() -> str:
    """This machine's address as others in its network know it; 127.0.0.1 without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of no machine, and nothing is sent: it only chooses the way out
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def _key_and_certificate(hosts: Sequence[str]) -> bytes:
    """PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise UserError("--https: cryptography is not installed, wanted: pip install cryptography") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "worldgen.view")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of headsets are not always right
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _alternative(host: str) -> Any:
    """x509's word for an address or a name."""
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
