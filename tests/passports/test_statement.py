"""The in-toto statement: valid by the library's own messages, and it says what the papers say."""

from __future__ import annotations

import json

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.passports import statement
from personamem_pipeline.passports.making import making_of
from personamem_pipeline.passports.records import FILE, DagsterOrigin, Git, Making, Passport
from personamem_pipeline.passports.sources import data_behind
from personamem_pipeline.passports.statement import PREDICATE, checkpoint_statement
from personamem_pipeline.store import Manifest, Store, write_json_atomically
from tests.pipeline import settings_at
from tests.stored import SEEDS_FILE, stored_dataset

Papers = tuple[Manifest, Passport, list[Making]]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    root = tmp_path_factory.mktemp("papers")
    store = Store(root / "store")
    version = stored_dataset(store)
    passport = Passport(
        format=2, stage="sft_checkpoint", inputs={"training_dataset": version, "base_model": "b" * 64},
        code_version="sft/4+0", preset={"name": "demo", "section": {"steps": 3, "lora": None}},
        packages={"torch": "2.13.0+cpu"}, base="b" * 64, data=data_behind(store, "training_dataset", version),
    )  # fmt: skip
    (root / "source").mkdir()
    write_json_atomically(root / "source" / PASSPORT, passport.model_dump(mode="json"))
    manifest = store.put_directory(CHECKPOINTS, root / "source", parents=passport.inputs, producer={})
    origin = DagsterOrigin(run_id="run-1", asset="sft_checkpoint", parents={"base_model": 7})
    made = making_of(store, manifest.version, settings_at(root), origin=origin, mlflow_run="f00")
    code = Git(commit="c" * 40, dirty=True)
    return manifest, passport, [made.model_copy(update={"git": code, "image": "registry/x@sha256:" + "9" * 64})]


def test_the_statement_is_valid_by_the_library(papers: Papers) -> None:
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    told = json.loads(json.dumps(checkpoint_statement(*papers)))
    Statement.copy_from_pb(ParseDict(told, Message())).validate()
    read = ParseDict(told["predicate"], Provenance())
    assert read.run_details.metadata.invocation_id == "run-1"
    assert told["_type"] == "https://in-toto.io/Statement/v1" and told["predicateType"] == PREDICATE


def test_it_names_the_files_the_parents_the_sources_and_the_code(papers: Papers) -> None:
    manifest, passport, _ = papers
    told = checkpoint_statement(*papers)
    assert {each["name"]: each["digest"]["sha256"] for each in told["subject"]} == {
        entry.path: entry.sha256 for entry in manifest.files
    }
    definition = told["predicate"]["buildDefinition"]
    read = {each["name"]: each for each in definition["resolvedDependencies"]}
    assert read["training_dataset"]["digest"] == {"sha256": passport.inputs["training_dataset"]}
    assert read["base_model"]["uri"] == "urn:personamem:checkpoints:" + "b" * 64
    assert read[SEEDS_FILE]["digest"] == {"sha256": "a" * 64} and FILE not in json.dumps(told)
    assert read["code"] == {"name": "code", "digest": {"gitCommit": "c" * 40}, "annotations": {"dirty": True}}
    assert read["image"]["digest"] == {"sha256": "9" * 64}
    assert read["torch"]["uri"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    assert definition["internalParameters"]["version"] == manifest.version
    assert {author["stage"] for author in definition["internalParameters"]["authors"]} >= {"persona_seeds", "questions"}
    assert definition["externalParameters"]["preset"] == {"name": "demo", "section": {"steps": 3, "lora": None}}


def test_without_a_making_it_says_nothing_of_a_run(papers: Papers) -> None:
    manifest, passport, _ = papers
    told = checkpoint_statement(manifest, passport, [])
    assert set(told["predicate"]["runDetails"]) == {"builder"}
    assert "code" not in {each["name"] for each in told["predicate"]["buildDefinition"]["resolvedDependencies"]}


def test_a_run_that_trained_nothing_is_not_the_builder(papers: Papers) -> None:
    manifest, passport, (made,) = papers
    origin = DagsterOrigin(run_id="run-2", asset="sft_checkpoint")
    code = Git(commit="d" * 40, dirty=False)
    later = made.model_copy(update={"answered": True, "dagster": origin, "git": code, "mlflow_run": None})
    assert checkpoint_statement(manifest, passport, [made, later]) == checkpoint_statement(*papers)
    assert checkpoint_statement(manifest, passport, [later]) == checkpoint_statement(manifest, passport, [])


def test_without_the_library_it_says_what_to_install(papers: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="attest"):
        checkpoint_statement(*papers)
