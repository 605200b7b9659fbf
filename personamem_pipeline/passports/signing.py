"""Signatures of checkpoints by the OpenSSF model-signing standard: who stands for these weights, checked with a public key.

    openssl ecparam -name prime256v1 -genkey -noout -out signing-key.pem
    openssl ec -in signing-key.pem -pubout -out signing-key.pub.pem
    personamem sign CHECKPOINT --key signing-key.pem
    personamem verify CHECKPOINT --public-key signing-key.pub.pem

Digests prove that nothing was changed since it was made; a signature proves by whom it was approved, also to somebody who
does not trust the store. It covers every file of the checkpoint, passport and manifest among them, and is attached beside it
(`attached/` itself is not covered: that is where later facts go). Each making that is there
by then gets a signature of its own, because nothing else binds what it states: sign again after the checkpoint was made
again. Needs the extra `sign`; keys are EC keys as PEM.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.passports.records import MAKINGS
from personamem_pipeline.store import ATTACHED, Store

SIGNATURES = "signatures"
"""Folder among a checkpoint's attachments: Sigstore bundles, one per key for the checkpoint (`<key>.sig`) and one for each
of its makings (`makings/<name>-<key>.sig`)."""
KEY_CHARACTERS = 16
MAKE_KEYS = "openssl ecparam -name prime256v1 -genkey -noout -out signing-key.pem"


def sign(store: Store, version: str, key: Path, password: bytes | None = None) -> str:
    """Sign a stored checkpoint, whose files are hashed first, and its makings; return the attachment's name.

    Signing again with the same key replaces the signatures. Raises `IntegrityError` for a damaged checkpoint and
    `UserError` for a key that is none, or is encrypted and came without its password.
    """
    bundle = _bundle(store.verified(CHECKPOINTS, version), key, password)
    own = _hint(bundle)[:KEY_CHARACTERS]
    for name, making in store.attachments(CHECKPOINTS, version).items():
        if name.startswith(f"{MAKINGS}/"):
            with _alone(making) as directory:
                of_making = _bundle(directory, key, password)
            store.attach(CHECKPOINTS, version, f"{SIGNATURES}/{name.removesuffix('.json')}-{own}.sig", of_making)
    store.attach(CHECKPOINTS, version, f"{SIGNATURES}/{own}.sig", bundle)
    return f"{SIGNATURES}/{own}.sig"


def verify_signature(directory: Path, attached: Mapping[str, bytes], public_key: Path) -> str:
    """Check the signature by `public_key` among a checkpoint's attachments (name -> content); returns its name.

    Raises `IntegrityError` when this key signed nothing, or something else than what lies in `directory`.
    """
    of_makings = f"{SIGNATURES}/{MAKINGS}/"
    signatures = {
        name: data
        for name, data in sorted(attached.items())
        if name.startswith(f"{SIGNATURES}/") and not name.startswith(of_makings)
    }
    return _holding(directory, signatures, public_key)


def signed_makings(attached: Mapping[str, bytes], public_key: Path) -> set[str]:
    """Which makings among a checkpoint's attachments were signed, as they are, by the holder of the key; their names."""
    found = set()
    for name, making in attached.items():
        if name.startswith(f"{MAKINGS}/"):
            begins = f"{SIGNATURES}/{name.removesuffix('.json')}-"
            signatures = {each: data for each, data in sorted(attached.items()) if each.startswith(begins)}
            with _alone(making) as directory, suppress(IntegrityError):
                _holding(directory, signatures, public_key)
                found.add(name)
    return found


@contextmanager
def _alone(making: bytes) -> Iterator[Path]:
    """A directory with nothing but a making: what the library signs is a directory."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "making.json").write_bytes(making)
        yield Path(scratch)


def _bundle(directory: Path, key: Path, password: bytes | None) -> bytes:
    """A signature of everything in a directory."""
    library = _library()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "signature"
        with _key_told(key):
            # The library hands the password on as it is, and cryptography wants bytes (model_signing 1.1.1).
            signer = library.signing.Config().use_elliptic_key_signer(private_key=key, password=password)
        signer.set_hashing_config(_hashing(library)).sign(directory, file)
        return file.read_bytes()


def _holding(directory: Path, signatures: Mapping[str, bytes], public_key: Path) -> str:
    """The name of the first of these signatures that is by the key and of what lies in a directory.

    All that claim the key are tried: anybody may attach one that claims it, and must not hide the real one by that.
    """
    library = _library()
    from cryptography.exceptions import InvalidSignature

    wanted = _hint_of(public_key)
    problems = []
    for name in (name for name, data in signatures.items() if _hint(data) == wanted):
        verifier = library.verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "signature"
            file.write_bytes(signatures[name])
            try:
                verifier.set_hashing_config(_hashing(library)).verify(directory, file)
                return name
            except (ValueError, KeyError, TypeError, IndexError, InvalidSignature) as error:
                problems.append(f"the signature {name} does not hold: {error or type(error).__name__}")
    if problems:
        remedy = "what is here is not what was signed; do not use it, and fetch it again"
        raise IntegrityError("; ".join(problems), where=directory, remedy=remedy)
    raise IntegrityError(
        f"no signature by this key; signatures: {', '.join(signatures) or 'none'}",
        where=directory,
        expected=f"one by {public_key} (sha256 {wanted[:KEY_CHARACTERS]})",
        remedy="ask whoever holds the key to run: personamem sign",
    )


def _hashing(library: Any) -> Any:
    """Every file but what is attached; also names that git uses, which the library would leave out."""
    return library.hashing.Config().set_ignored_paths(paths=[ATTACHED], ignore_git_paths=False)


def _hint(bundle: bytes) -> str:
    """SHA-256 of the public key that a bundle says it was signed for; empty when it is no bundle."""
    try:
        return str(json.loads(bundle)["verificationMaterial"]["publicKey"]["hint"])
    except (ValueError, KeyError, TypeError):
        return ""


def _hint_of(public_key: Path) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    with _key_told(public_key):
        key = load_pem_public_key(public_key.read_bytes())
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@contextmanager
def _key_told(key: Path) -> Iterator[None]:
    """What is wrong with a key file, without a word of what is in it."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        yield
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=key, remedy=MAKE_KEYS) from error
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise UserError(
            "not a key that can be used, or not its password",
            where=key,
            expected="an EC key (P-256, P-384 or P-521) in PEM",
            remedy=MAKE_KEYS,
        ) from error


def encrypted(key: Path) -> bool:
    """Whether a private key needs a password."""
    with _key_told(key):
        return b"ENCRYPTED" in key.read_bytes()


def _library() -> Any:
    try:
        import model_signing
        import model_signing.hashing
        import model_signing.signing
        import model_signing.verifying
    except ImportError as error:
        raise UserError(
            f"signing needs a package that is not installed ({error.name})", remedy="pip install -e '.[sign]'"
        ) from error
    return model_signing
