"""The house rules that a reviewer would otherwise have to remember: who imports whom, and what loading costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "trl", "vllm", "datasets", "accelerate"}
HEAVY_ROOMS = (
    "personamem_pipeline.memory.generators",
    "personamem_pipeline.training",
    "personamem_pipeline.evaluation",
)
COMPOSITION = {"personamem_pipeline.definitions", "personamem_pipeline.demo", "personamem_pipeline.cli_store"}
P = "personamem_pipeline."
MUST_NOT: dict[str, tuple[str, ...]] = {
    P + "records": (P,),
    P + "store": (P + "llm", P + "personas", P + "conversations", P + "questions", P + "memory", P + "training"),
    P + "passports": (P + "llm", P + "personas", P + "conversations", P + "memory", P + "training", P + "evaluation"),
    P + "llm": (P + "personas", P + "conversations", P + "questions", P + "memory", P + "training", P + "evaluation"),
    P + "personas": (P + "conversations", P + "questions", P + "memory", P + "training", P + "evaluation"),
    P + "conversations": (P + "questions", P + "memory", P + "training", P + "evaluation"),
    P + "questions": (P + "memory", P + "training", P + "evaluation"),
    P + "memory": (P + "personas", P + "conversations", P + "questions", P + "training", P + "evaluation"),
    P + "training": (P + "evaluation", P + "personas", P + "conversations"),
    P + "evaluation": (P + "training", P + "personas", P + "conversations"),
    "resources": ("assets",),
}
"""Room -> what it may not import. The exceptions, definitions.py, demo.py and cli_store.py, put everything together."""


def modules() -> dict[str, Path]:
    files = [path for room in ("personamem_pipeline", "assets", "resources") for path in (ROOT / room).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in sorted(files)
    }


def imports(path: Path, *, everywhere: bool = True) -> set[str]:
    """Modules that a file imports; `everywhere=False` leaves out imports inside functions and for type checkers."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def within(name: str, room: str) -> bool:
    return name == room.removesuffix(".") or name.startswith(room.removesuffix(".") + ".")


@pytest.mark.parametrize("name", modules())
def test_imports_flow_one_way(name: str) -> None:
    found = imports(modules()[name])
    for room, forbidden in MUST_NOT.items():
        if within(name, room):
            own = {target for target in found if not within(target, room)}
            assert not {target for target in own if any(within(target, other) for other in forbidden)}
    if name.startswith(P) and name not in COMPOSITION:
        assert not {target for target in found if target.split(".")[0] in ("dagster", "assets", "resources")}
        assert "dagster_pipes" not in found or name == P + "stage"


@pytest.mark.parametrize("name", modules())
def test_heavy_libraries_stay_in_their_rooms(name: str) -> None:
    heavy = {target.split(".")[0] for target in imports(modules()[name])} & HEAVY
    assert not heavy or any(within(name, room) for room in HEAVY_ROOMS)


@pytest.mark.parametrize("name", modules())
def test_only_settings_reads_our_environment(name: str) -> None:
    if name not in (P + "settings", P + "environment"):
        assert "PERSONAMEM_" not in "".join(
            ast.unparse(node)
            for node in ast.walk(ast.parse(modules()[name].read_text()))
            if isinstance(node, ast.Subscript | ast.Call) and "environ" in ast.unparse(node)
        )


def test_the_code_location_loads_quickly_and_without_heavy_libraries() -> None:
    probe = (
        "import json, sys, time, personamem_pipeline.definitions as d;"
        "print(json.dumps({'seconds': time.process_time(), 'modules': sorted({m.split('.')[0] for m in sys.modules})}))"
    )
    measured = [
        json.loads(subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, check=True).stdout)
        for _ in range(2)
    ]
    slow = {*HEAVY, "mlflow", "openai", "matplotlib", "scipy", "pandas", "kubernetes"}
    assert not slow & set(measured[0]["modules"])
    # Processor time, not the clock: the machine may be busy with something else.
    assert min(measurement["seconds"] for measurement in measured) < 3


def test_definitions_is_short() -> None:
    assert len((ROOT / "personamem_pipeline" / "definitions.py").read_text().splitlines()) < 150


def test_no_table_of_pyproject_switches_the_workspace_file_off() -> None:
    import tomllib

    assert not {"dagster", "dg"} & set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"])
