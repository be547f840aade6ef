"""TLS of a station, as server to those who send films and as client of the archive.

TLS 1.2 at least, as the standard's profiles ask for (PS3.15 B.12), and what OpenSSL takes for safe.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from kellgren.errors import KellgrenError


class UnusableCertificate(KellgrenError):
    """A certificate or key that is missing, is no PEM file, or does not fit the other."""


def server_context(certificate: Path, key: Path, clients: Path | None = None) -> ssl.SSLContext:
    """For those who send films.

    Args:
        certificate: of this station, PEM, with the chain that leads to its authority.
        key: that belongs to it, PEM, without a password.
        clients: authorities, PEM, one of which must have signed every caller's certificate;
            ``None``: callers need none.

    Raises:
        UnusableCertificate: a file is missing, or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, certificate, key)
    if clients is not None:
        _load_authorities(context, clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    authorities: Path, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """For the archive.

    Args:
        authorities: one of which must have signed its certificate, PEM; a certificate that signed
            itself is its own.
        certificate: of this station, PEM, where the archive asks for one.
        key: that belongs to it.

    Raises:
        UnusableCertificate: a file is missing, or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_authorities(context, authorities)
    if certificate is not None:
        _load_own(context, certificate, key)
    return context


def failure(error: OSError) -> str:
    """What went wrong between two sides, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    return f"{getattr(error, 'reason', None) or error.strerror or type(error).__name__}"


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    def no_password() -> str:
        raise UnusableCertificate(
            key or certificate, "has a password", "Write the key to a file without one"
        )

    try:
        context.load_cert_chain(certificate, key, no_password)
    except OSError as error:
        raise UnusableCertificate(
            certificate,
            f"cannot be used with key {key or certificate} ({failure(error)})",
            "Name a certificate and its key as PEM files",
        ) from None


def _load_authorities(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except OSError as error:
        raise UnusableCertificate(
            authorities,
            f"holds no certificates ({failure(error)})",
            "Name a PEM file of the authorities that are trusted",
        ) from None
