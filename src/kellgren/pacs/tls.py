"""TLS of a station, as server to those who send films and as client of the archive.

TLS 1.2 at least, as the standard's profiles ask for (PS3.15 B.12), and what OpenSSL takes for safe.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
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


def failure(error: Exception) -> str:
    """What went wrong between two sides, in OpenSSL's words, and which side found it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    if reason == "WRONG_VERSION_NUMBER":
        return "what it sends is no TLS"
    if reason is None:
        return type(error).__name__
    _, is_alert, alert = reason.rpartition("ALERT_")
    told = alert.replace("_", " ").lower() if reason.isupper() else alert
    return f"it objects: {told}" if is_alert else told


def shown_problem(certificate: Path, key: Path) -> str:
    """Why callers that check a station's certificate will not accept it, as far as it tells.

    Args:
        certificate: see `server_context`.
        key: likewise.

    Returns:
        In OpenSSL's words, such as that it has expired; empty: nothing is wrong with it.
    """
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname = False
    caller.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whatever signed it is trusted here
    caller.load_verify_locations(certificate)
    to, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = caller.wrap_bio(back, to)
    shown = server_context(certificate, key).wrap_bio(to, back, server_side=True)
    try:
        for side in (asking, shown, asking):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message.rstrip(".")
    return ""


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
