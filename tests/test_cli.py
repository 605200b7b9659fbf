"""`personamem`: what it prints, and that it is quick to start."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.store import Store
from tests.tiny_model import MEMORY, save_tiny

ROOT = Path(__file__).resolve().parent.parent
RELEASED = ROOT.parent / "shared" / "data" / "released" / "chat_history_32k_250913_163134_persona521.prefix.json"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    path = tmp_path / "chat.json"
    contents = ["I left my bamboo whisk.", "green tea, none", "my whisk I left", "bamboo tea"]
    messages = [{"role": "system", "content": "profile"}, *({"role": "user", "content": text} for text in contents)]
    path.write_text(json.dumps({"chat_history": messages}))
    return path


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_chunk_is_shown_and_the_protocol_is_the_checkpoints(
    chat: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", str(chat), "--model", str(model)]) == 0
    out = capsys.readouterr().out
    assert "chunks of 12 tokens, memory of 6 (as trained)" in out
    assert "profile is not read" in out
    chunks = re.findall(r"^Chunk (\d) of (\d): m000(\d) to m000(\d)", out, re.MULTILINE)
    count = len(chunks)
    assert [(number, of) for number, of, _, _ in chunks] == [(str(i + 1), str(count)) for i in range(count)]
    assert [int(first) for _, _, first, _ in chunks] == [1, *(int(last) + 1 for _, _, _, last in chunks[:-1])]
    assert chunks[-1][3] == "4"
    assert count > 2 and f"{count} chunks; the model was trained on at most 2" in out
    assert f"tokens of chat in {count} chunks" in out


def test_json_lines_tell_the_same_to_programs(chat: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--option", "green tea", "--option", "wine"]
    limits = ["--memory-tokens", "3", "--answer-tokens", "2", "--max-chunks", "2", "--keep-profile"]
    assert main(["read", str(chat), "--model", str(model), "--json", "--query", "What?", *options, *limits]) == 0
    told = events(capsys)
    turns = [event for event in told if event["event"] == "turn"]
    totals = next(event for event in told if event["event"] == "totals")
    answer = told[-1]
    assert turns[0]["turn_ids"][0] == "m0000"
    assert len(turns) == totals["chunks"] == 2 and totals["unread_chunks"] > 0
    # A random model does not end by itself: nothing that was cut off becomes a memory.
    assert all(turn["kept"] == "unfinished" and turn["written_tokens"] == 3 for turn in turns)
    assert totals["written_tokens"] == 6 and totals["memory_tokens"] == 0
    assert answer["event"] == "answer" and answer["options"] == {"a": "green tea", "b": "wine"}
    assert answer["choice"] is None and answer["finished"] is False


def test_the_same_reading_twice(chat: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def turns() -> list[dict[str, Any]]:
        main(["read", str(chat), "--model", str(model), "--json"])
        return [event for event in events(capsys) if event["event"] == "turn"]

    assert turns() == turns()


def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    chat: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personamem_pipeline.memory.generators.vllm.find_spec", lambda name: None)
    assert main(["read", str(chat), "--model", str(model), "--engine", "vllm"]) == 2
    said = capsys.readouterr().err
    assert "vLLM is not installed" in said and "[gpu]" in said and "docker/vllm-cpu" in said
    assert main(["read", str(chat), "--model", str(model), "--engine", "transformers"]) == 0


@pytest.mark.skipif(not RELEASED.is_file(), reason="the released files are not beside this checkout (../shared/data)")
def test_a_released_history(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = ["--style", "full", "--chunk-tokens", "2000", "--memory-tokens", "2"]
    assert main(["read", str(RELEASED), "--model", str(model), *limits]) == 0
    out = capsys.readouterr().out
    assert "m0007" in out and "full prompts, chunks of 2000 tokens, memory of 2 (as set)" in out
    assert "the model was made for 1024 in all" in out


def test_demo_is_the_checkpoint_that_was_finished_last(
    chat: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERSONAMEM_HOME", str(tmp_path / "home"))
    store = Store(tmp_path / "home" / "store")

    def stored(seed: int, made: int, source: Path = model) -> Path:
        manifest = store.put_directory("checkpoints", source, parents={}, producer={"seed": str(seed)})
        directory = store.path("checkpoints", manifest.version)
        os.utime(directory / "manifest.json", (made, made))
        return directory

    def demo(name: str = "demo") -> Path:
        assert main(["read", str(chat), "--model", name, "--json"]) == 0
        return Path(events(capsys)[0]["model"])

    other = Path(shutil.copytree(model, tmp_path / "other"))
    papers = {"stage": "sft_checkpoint", "inputs": {}, "code_version": "sft/4", "memory": MEMORY.model_dump()}
    (other / "passport.json").write_text(json.dumps(papers))
    first, second, _ = stored(0, made=100), stored(1, made=200), stored(2, made=300, source=other)
    shutil.copytree(second, store.root / "checkpoints" / ".writing-killed")
    assert demo() == demo("latest") == second
    # Trained again with seed 0: the same checkpoint, which is now the latest.
    assert stored(0, made=400) == first
    assert demo() == first


def test_presets_are_listed_and_one_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    listed = capsys.readouterr().out
    assert "demo: 480 persons" in listed
    copy = tmp_path / "mine.yaml"
    copy.write_text((ROOT / "presets" / "demo.yaml").read_text())
    assert main(["presets", str(copy)]) == 0
    assert capsys.readouterr().out.startswith("mine: ")


def test_nothing_slow_is_loaded_before_it_is_needed() -> None:
    probe = "import sys, personamem_pipeline.cli; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "transformers", "pydantic", "rich", "dagster", "pyarrow"} & set(loaded.split())
