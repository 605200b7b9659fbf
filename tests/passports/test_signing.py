from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from personamem_pipeline.cli_sign import add_sign_command
from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.passports.finding import FoundCheckpoint
from personamem_pipeline.passports.making import attach_making, makings
from personamem_pipeline.passports.signing import SIGNATURES, encrypted, sign, verify_signature
from personamem_pipeline.passports.verify import verify
from personamem_pipeline.store import Store
from tests.passports.chains import Chain
from tests.passports.damaging import edit_manifest, only_making

pytest.importorskip("model_signing")
pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes keys with openssl, as the docstring says"
)
KIND = "checkpoints"


def keys(directory: Path, name: str, *, curve: str = "prime256v1") -> tuple[Path, Path]:
    """A private and a public key, made as the module's docstring says."""
    private, public = directory / f"{name}.pem", directory / f"{name}.pub.pem"
    for command in (
        ["ecparam", "-name", curve, "-genkey", "-noout", "-out"],
        ["ec", "-in", str(private), "-pubout", "-out"],
    ):
        subprocess.run(
            ["openssl", *command, str(public if "-pubout" in command else private)], check=True, capture_output=True
        )
    return private, public


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return keys(tmp_path_factory.mktemp("keys"), "own")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.safetensors").write_bytes(b"weights")
    (source / ".gitattributes").write_text("*.safetensors")
    (source / "passport.json").write_text("{}")
    store = Store(tmp_path / "store")
    store.put_directory(KIND, source, parents={}, producer={"stage": "grpo_checkpoint"})
    return store


def only(store: Store) -> str:
    (version,) = store.versions(KIND)
    return version


def check(store: Store, public: Path, directory: Path | None = None) -> str:
    version = only(store)
    return verify_signature(directory or store.path(KIND, version), store.attachments(KIND, version), public)


def test_a_signature_holds_for_the_checkpoint_and_for_a_copy_of_it(
    store: Store, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    version = only(store)
    name = sign(store, version, pair[0])
    assert name.startswith(f"{SIGNATURES}/") and store.verified(KIND, version), "it is no part of the version"
    assert check(store, pair[1]) == name
    store.attach(KIND, version, "model-card.md", b"later")
    assert check(store, pair[1]) == name, "what is attached later is not covered"
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(store.path(KIND, version)), str(copy)], check=True)
    assert check(store, pair[1], copy) == name
    assert sign(store, version, pair[0]) == name, "signing again replaces it"


@pytest.mark.parametrize("file", ["model.safetensors", "passport.json", "manifest.json", ".gitattributes"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_any_file_that_differs_is_found(store: Store, pair: tuple[Path, Path], file: str, how: str) -> None:
    sign(store, only(store), pair[0])
    path = store.path(KIND, only(store)) / file
    path.write_bytes(b"other") if how == "changed" else path.unlink()
    with pytest.raises(IntegrityError, match="does not hold") as refused:
        verify_signature(
            path.parent, store.attachments(KIND, path.parent.name) if path.parent.exists() else {}, pair[1]
        )
    assert file in str(refused.value)


def test_a_file_that_was_added_is_found(store: Store, pair: tuple[Path, Path]) -> None:
    sign(store, only(store), pair[0])
    (store.path(KIND, only(store)) / "chat_template.jinja").write_text("be evil")
    with pytest.raises(IntegrityError, match=r"chat_template\.jinja"):
        check(store, pair[1])


def test_another_key_does_not_do(store: Store, pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = keys(tmp_path, "other", curve="secp384r1")
    with pytest.raises(IntegrityError, match="signatures: none"):
        check(store, pair[1])
    sign(store, only(store), pair[0])
    with pytest.raises(IntegrityError, match="no signature by this key"):
        check(store, other[1])
    sign(store, only(store), other[0])
    assert check(store, other[1]) != check(store, pair[1]), "two people can sign"


def test_a_forged_signature_is_found(store: Store, pair: tuple[Path, Path], tmp_path: Path) -> None:
    version = only(store)
    name, other = sign(store, version, pair[0]), sign(store, version, keys(tmp_path, "forger")[0])
    forged, real = (json.loads(store.attachments(KIND, version)[each]) for each in (other, name))
    forged["verificationMaterial"] = real["verificationMaterial"]
    store.attach(KIND, version, name, json.dumps(forged).encode())
    with pytest.raises(IntegrityError, match="does not hold"):
        check(store, pair[1])
    for broken in (
        {**real, "dsseEnvelope": {}},
        {**real, "mediaType": "x"},
        {"verificationMaterial": real["verificationMaterial"]},
    ):
        store.attach(KIND, version, name, json.dumps(broken).encode())
        with pytest.raises(IntegrityError):
            check(store, pair[1])


def test_one_forged_signature_does_not_hide_the_real_one(store: Store, pair: tuple[Path, Path], tmp_path: Path) -> None:
    version = only(store)
    name = sign(store, version, pair[0])
    forged = json.loads(store.attachments(KIND, version)[name]) | {"dsseEnvelope": {}}
    store.attach(KIND, version, f"{SIGNATURES}/0000.sig", json.dumps(forged).encode())
    assert check(store, pair[1]) == name


def test_a_making_is_proven_by_a_signature_of_its_own(chain: Chain, pair: tuple[Path, Path]) -> None:
    def statuses() -> list[tuple[str, str]]:
        found = verify(chain.store, FoundCheckpoint(own), project=chain.project, public_key=pair[1])
        assert found.exit_code == 0, found.of("BROKEN")
        return sorted((link.status, link.about.partition(" ")[0]) for link in found.links if link.what[:7] == "making ")

    own = chain.versions["grpo_checkpoint"]
    sign(chain.store, own, pair[0])
    assert statuses() == [("note", "base_model"), ("note", "sft_checkpoint"), ("ok", "grpo_checkpoint")]
    (made,) = makings(chain.store, own)
    only_making(chain, "grpo_checkpoint").unlink()
    attach_making(chain.store, made.model_copy(update={"image": "sha256:" + "0" * 64}))  # with its right name
    assert statuses()[-1] == ("note", "sft_checkpoint"), "a forged making is not the one that was signed"


def test_a_broken_checkpoint_is_not_asked_for_its_signature(chain: Chain, pair: tuple[Path, Path]) -> None:
    own = chain.versions["grpo_checkpoint"]
    sign(chain.store, own, pair[0])
    edit_manifest(chain.directory("grpo_checkpoint"), producer={"stage": "grpo_checkpoint", "author": "somebody"})
    found = verify(chain.store, FoundCheckpoint(own), project=chain.project, public_key=pair[1])
    assert found.exit_code == 1 and [link.what for link in found.of("gap")][:1] == ["is signed by the key"]


def test_a_damaged_checkpoint_is_not_signed(store: Store, pair: tuple[Path, Path]) -> None:
    (store.path(KIND, only(store)) / "model.safetensors").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="sha256"):
        sign(store, only(store), pair[0])


def test_bad_keys_are_told_without_what_is_in_them(store: Store, pair: tuple[Path, Path], tmp_path: Path) -> None:
    secret, locked = tmp_path / "secret.pem", tmp_path / "locked.pem"
    secret.write_text("hunter2")
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", pair[0], "-out", locked, "-passout", "pass:word"], check=True)
    assert encrypted(locked) and not encrypted(pair[0])
    for key, password in (
        (secret, None),
        (tmp_path / "none.pem", None),
        (locked, None),
        (locked, b"wrong"),
        (pair[1], None),
    ):
        with pytest.raises(UserError) as refused:
            sign(store, only(store), key, password)
        assert str(key) in str(refused.value) and "hunter2" not in str(refused.value)
    sign(store, only(store), locked, b"word")
    assert check(store, pair[1])
    with pytest.raises(UserError, match="not a key"):
        check(store, pair[0])


def test_from_the_command_line(store: Store, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_sign_command(parser.add_subparsers())
    arguments = parser.parse_args(["sign", only(store)[:8], "--key", str(pair[0]), "--store", store.url])
    arguments.run(arguments)
    assert f"{only(store)}: {SIGNATURES}/" in capsys.readouterr().out
    assert check(store, pair[1])
    nobody = parser.parse_args(["sign", "abcd", "--key", str(pair[0]), "--store", store.url])
    with pytest.raises(UserError, match="no checkpoint"):
        nobody.run(nobody)
