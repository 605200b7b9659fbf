"""`personamem verify` of a store in a bucket: the bucket is what is hashed, not a copy of what was there once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.passports.finding import FoundCheckpoint, find_checkpoint
from personamem_pipeline.passports.verify import verify
from personamem_pipeline.store import ATTACHED, MANIFEST, Store
from tests.passports.chains import SEEDS_FILE, Chain, build
from tests.passports.damaging import edit_manifest
from tests.store.conftest import InBucket


def moved(chain: Chain, to: Store, scratch: Path) -> None:
    """Put everything of a chain into another store."""
    for path in sorted(chain.store.root.glob(f"*/*/{MANIFEST}")):
        kind, version = path.parent.parent.name, path.parent.name
        manifest = chain.store.manifest(kind, version)
        content = Path(shutil.copytree(path.parent, scratch / version, ignore=lambda *_: [MANIFEST, ATTACHED]))
        to.put_directory(kind, content, parents=manifest.parents, producer=manifest.producer)
        for name, data in chain.store.attachments(kind, version).items():
            to.attach(kind, version, name, data)


def test_a_chain_in_a_bucket_is_hashed_in_the_bucket(
    bucket: InBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = build(tmp_path / "chain")
    store = bucket.open()
    moved(chain, store, tmp_path / "scratch")
    root = FoundCheckpoint(chain.versions["grpo_checkpoint"])
    assert find_checkpoint("grpo_checkpoint", store) == root
    assert verify(store, root, project=chain.project).outcome == "whole"

    shard = f"questions/{chain.shards['questions']['01']}/rows.parquet"
    whole = bucket.get(shard)
    bucket.set(shard, whole[:-1] + bytes([whole[-1] ^ 1]))
    found = verify(store, root, project=chain.project)
    (link,) = [link for link in found.of("BROKEN")]
    assert link.about == chain.label("questions", "01") and shard in link.found
    assert "not the rows that training_dataset" in link.means
    bucket.set(shard, whole)

    edit_manifest(store.path("checkpoints", str(root.version)), producer={"stage": "sft_checkpoint"})
    found = verify(store, root, project=chain.project)
    assert (found.stage, found.outcome) == ("grpo_checkpoint", "whole"), "the mirror's manifest is not believed"
    assert main(["verify", store.address("checkpoints", str(root.version)), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    gaps = [link["what"] for link in told["links"] if link["status"] == "gap"]
    assert gaps == [f"source {SEEDS_FILE}"] and told["checkpoint"] == root.version, "the address names the store, too"

    key = f"checkpoints/{chain.versions['sft_checkpoint']}/{MANIFEST}"
    bucket.server.client.delete_object(Bucket=bucket.name, Key=f"lab/one/{key}")
    first = verify(store, root, project=chain.project).first_break
    assert first is not None and first.about == chain.label("sft_checkpoint"), "although the mirror still has a copy"
    assert "can be neither shown nor checked" in first.means
