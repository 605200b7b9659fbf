"""`personamem view`: which dataset it shows, whom of it, and what it says when there is none."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.arrow import write_parquet
from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.questions.copying import HISTORIES, QUESTIONS
from personamem_pipeline.questions.viewer_cli import view_command
from personamem_pipeline.records import History, Persona, Question, Rejection
from personamem_pipeline.store import MANIFEST, REJECTED, Manifest, Store
from tests.browser import people


def stored(store: Store, tmp_path: Path, **producer: str) -> Manifest:
    """The persons by hand as a gathered benchmark, and the shard of personas that it names as a parent."""
    shard = store.write_rows("personas", Persona, people.personas().values(), parents={}, producer={})
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    write_parquet(source / HISTORIES, History, people.histories())
    write_parquet(source / QUESTIONS, Question, [row for row in people.questions() if row.certificate.admitted])
    write_parquet(source / REJECTED, Rejection, people.REJECTED)
    return store.put_directory("benchmark", source, parents={"personas/0": shard.version}, producer=producer)


def persons(page: Path) -> list[dict[str, Any]]:
    found = re.findall('class="person">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    return [json.loads(block) for block in found]


def test_the_newest_dataset_with_its_personas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, page = Store(tmp_path / "store"), tmp_path / "viewer.html"
    newest = stored(store, tmp_path, run="second")
    older = stored(store, tmp_path, run="first")
    os.utime(store.path("benchmark", older.version) / MANIFEST, (1, 1))
    assert view_command("benchmark", page, store) == 0
    assert [person["name"] for person in persons(page)] == ["Ines Moreau", f"Bobby {people.HOSTILE}"]
    assert newest.version in page.read_text() and "<dd>second</dd>" in page.read_text()
    assert "2 of 2 persons" in capsys.readouterr().out
    view_command(f"benchmark/{older.version[:16]}", page, store, persons=1)
    assert [person["id"] for person in persons(page)] == ["p1"] and older.version in page.read_text()
    view_command("benchmark", page, store, people=["p2"])
    assert [person["id"] for person in persons(page)] == ["p2"]


def test_a_directory_from_elsewhere(tmp_path: Path) -> None:
    store, page = Store(tmp_path / "store"), tmp_path / "viewer.html"
    manifest = stored(store, tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(store.path("benchmark", manifest.version), copy)
    view_command(str(copy), page, Store(tmp_path / "other"))
    assert [person["profile"] for person in persons(page)] == [None, None], "its persons are in no store here"
    (copy / MANIFEST).unlink()
    (copy / REJECTED).unlink()
    view_command(str(copy), page, store)
    assert "the directory has no manifest" in page.read_text() and not persons(page)[0]["rejected"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    store, page = Store(tmp_path / "store"), tmp_path / "viewer.html"
    problems = {
        "benchmark": "there is no benchmark yet",
        "histories": "no such dataset",
        "nowhere/at": "no such dataset",
    }
    for name, problem in problems.items():
        with pytest.raises(UserError, match=problem):
            view_command(name, page, store)
    manifest = stored(store, tmp_path)
    with pytest.raises(UserError, match="no such person: p3"):
        view_command("benchmark", page, store, people=["p3"])
    with pytest.raises(UserError, match="no version of benchmark begins with none"):
        view_command("benchmark/none", page, store)
    file = store.path("benchmark", manifest.version) / QUESTIONS
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(IntegrityError):
        view_command("benchmark", page, store)
    assert not page.exists()
