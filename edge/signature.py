"""Who made a bundle: an Ed25519 signature over its manifest, which in turn holds the checksum of every file."""

from __future__ import annotations

from pathlib import Path

from edge.errors import BundleError

SIGNATURE = "manifest.json.sig"
"""Beside the manifest; 64 bytes, as `openssl pkeyutl -sign -rawin` writes them."""


def check_signature(manifest: Path, key: Path) -> None:
    """Checks that the holder of a key signed a manifest.

    Args:
        manifest: Path of `manifest.json`; the signature lies beside it.
        key: Public key, PEM.

    Raises:
        BundleError: No signature, not by this key, no usable key, or `cryptography` is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as problem:
        fix = "pip install cryptography; without --key no signature is asked for"
        raise BundleError(
            "a signature is asked for and cannot be checked", got="no module cryptography", fix=fix
        ) from problem
    try:
        public = load_pem_public_key(key.read_bytes())
    except (OSError, ValueError) as problem:
        fix = "openssl pkey -in private.pem -pubout -out public.pem"
        raise BundleError(f"{key} is not a public key", expected="PEM, Ed25519", got=str(problem), fix=fix) from problem
    if not isinstance(public, Ed25519PublicKey):
        raise BundleError(f"{key} is not a key for bundles", expected="Ed25519", got=type(public).__name__)
    path = manifest.with_name(SIGNATURE)
    how = f"openssl pkeyutl -sign -rawin -inkey private.pem -in {manifest.name} -out {SIGNATURE}"
    try:
        signature = path.read_bytes()
    except OSError as problem:
        raise BundleError("the bundle is not signed", expected=SIGNATURE, got="no such file", fix=how) from problem
    try:
        public.verify(signature, manifest.read_bytes())
    except InvalidSignature as problem:
        raise BundleError(
            f"the bundle is not signed by the holder of {key}", got=f"a {SIGNATURE} that does not fit", fix=how
        ) from problem
