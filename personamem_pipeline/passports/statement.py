"""A checkpoint's papers as an in-toto statement with SLSA provenance: the same facts in the words of supply-chain tools.

    pip install "personamem-pipeline[attest]"

Subjects are the checkpoint's files, each with its SHA-256. The predicate is SLSA provenance 1 (https://slsa.dev/spec/v1.0/
provenance): what a person chose are the external parameters, what followed from it the internal ones, what was read the
resolved dependencies; the run details are those of the last making that trained. The statement is not signed: `personamem
sign` signs the checkpoint, and any DSSE tool can sign this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.passports.records import Making, Passport
from personamem_pipeline.store import Manifest

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:personamem-pipeline:stage:v1"
BUILDER = "urn:personamem-pipeline:stage-process"
DIGEST_OF = "a version is the SHA-256 of its manifest's canonical JSON (sorted keys, no spaces)"


def last_trained(makings: Sequence[Making]) -> Making | None:
    """Of makings, the oldest first, that of the last run that trained; None where all only found what was there.

    What a run that trained nothing ran on (its commit, image and machine) says nothing of the checkpoint.
    """
    return next((making for making in reversed(makings) if not making.answered), None)


def checkpoint_statement(manifest: Manifest, passport: Passport, makings: Sequence[Making]) -> dict[str, Any]:
    """The statement about a checkpoint as JSON-able data; of its makings, the oldest first, it is about the last that
    trained, and without one it says nothing of a run.

    Raises `UserError` where the library is not installed.
    """
    if find_spec("in_toto_attestation") is None:
        raise UserError(
            "an in-toto statement needs the package in-toto-attestation, which is not installed",
            remedy='pip install "personamem-pipeline[attest]"',
        )
    from google.protobuf.json_format import MessageToDict, ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    subjects = [ResourceDescriptor(name=entry.path, digest={"sha256": entry.sha256}).pb for entry in manifest.files]
    making = last_trained(makings)
    # Through the message of the library, which refuses a field that SLSA does not know.
    predicate = MessageToDict(ParseDict(_provenance(manifest, passport, making), Provenance()))
    statement = Statement(subjects, PREDICATE, predicate)
    statement.validate()
    return dict(MessageToDict(statement.pb))


def _provenance(manifest: Manifest, passport: Passport, making: Making | None) -> dict[str, Any]:
    stated = passport.model_dump(mode="json")
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"stage": passport.stage, "preset": passport.preset, "memory": passport.memory},
            "internalParameters": {
                "version": manifest.version,
                "codeVersion": passport.code_version,
                **{name: stated[name] for name in ("base", "reward", "rows") if stated[name] is not None},
                "authors": [_author(author) for author in (stated["data"] or {"authors": []})["authors"]],
            },
            "resolvedDependencies": [*_data(passport), *_packages(passport), *_code(making)],
        },
        "runDetails": {"builder": {"id": BUILDER}} if making is None else _run(making),
    }


def _author(author: Mapping[str, Any]) -> dict[str, Any]:
    """Without the shards' versions, which the dataset's manifest names."""
    return {name: value for name, value in author.items() if name not in ("shards", "files")} | {
        "shards": len(author["shards"])
    }


def _data(passport: Passport) -> Iterator[dict[str, Any]]:
    """The parents, the base model below them, and the files that the data come from."""
    versions = {**passport.inputs, **({"base_model": passport.base} if passport.base else {})}
    for name, version in sorted(versions.items()):
        kind = GRAPH[name].kind if name in GRAPH else name
        yield {
            "name": name,
            "uri": f"urn:personamem:{kind}:{version}",
            "digest": {"sha256": version},
            "annotations": {"digestOf": DIGEST_OF},
        }
    files = {
        path: sha256
        for author in (passport.data.authors if passport.data else ())
        for path, sha256 in author.files.items()
    }
    yield from ({"name": path, "digest": {"sha256": sha256}} for path, sha256 in sorted(files.items()))


def _packages(passport: Passport) -> Iterator[dict[str, Any]]:
    """As package URLs (https://github.com/package-url/purl-spec); a local version's `+` is escaped there."""
    for name, version in sorted(passport.packages.items()):
        yield {"name": name, "uri": f"pkg:pypi/{name}@{version.replace('+', '%2B')}"}


def _code(making: Making | None) -> Iterator[dict[str, Any]]:
    if making and making.git:
        git = making.git
        yield {"name": "code", "digest": {"gitCommit": git.commit}, "annotations": {"dirty": git.dirty}}
    if making and making.image:
        _, found, sha256 = making.image.rpartition("sha256:")
        yield {"name": "image", **({"digest": {"sha256": sha256}} if found else {"uri": making.image})}


def _run(making: Making) -> dict[str, Any]:
    run = making.dagster.run_id if making.dagster else None
    told = {"hardware": making.hardware.model_dump(mode="json"), "packages": making.packages}
    return {
        "builder": {"id": BUILDER, "version": {"python": making.python}},
        "metadata": {"finishedOn": making.finished, **({"invocationId": run} if run else {})},
        "byproducts": [
            {"name": "machine", "annotations": told},
            *([{"name": "mlflow run", "uri": f"urn:mlflow:run:{making.mlflow_run}"}] if making.mlflow_run else []),
            *(
                [{"name": "dagster run", "annotations": making.dagster.model_dump(mode="json")}]
                if making.dagster
                else []
            ),
        ],
    }
