"""Definitions as they would be after somebody edited a file: for tests of what becomes stale by it.

A text is changed as an editor changes it, in its file, and everything that we wrote is imported anew; patching a name would
miss what was composed of it at import. The files on disk are not touched, and afterwards all is as before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import yaml

from personamem_pipeline.lineage import GRAPH

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("personamem_pipeline", "assets", "resources")


class _Edited(SourceFileLoader):
    """A module's source with one text replaced; never its cached bytecode."""

    def __init__(self, name: str, path: str, old: str, new: str) -> None:
        super().__init__(name, path)
        self.old, self.new = old, new

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        assert source.count(self.old) == 1, f"{self.path} has {self.old!r} {source.count(self.old)} times"
        return self.source_to_code(source.replace(self.old, self.new), self.path)


class _Finder(MetaPathFinder):
    def __init__(self, file: str, old: str, new: str) -> None:
        self.name = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        self.loader = _Edited(self.name, str(ROOT / file), old, new)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return spec_from_file_location(fullname, self.loader.path, loader=self.loader)


@contextmanager
def edited(file: str, old: str, new: str) -> Iterator[None]:
    """Within it, our modules are imported as if `old`, which stands once in `file`, were `new`."""
    kept = _take_out()
    finder = _Finder(file, old, new)
    sys.meta_path.insert(0, finder)
    try:
        yield
        assert finder.name in sys.modules, f"nothing imported {file}"
    finally:
        sys.meta_path.remove(finder)
        _take_out()
        sys.modules.update(kept)


def _take_out() -> dict[str, ModuleType]:
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ROOMS}
    for name in ours:
        del sys.modules[name]
    return ours


def code_versions(preset: Mapping[str, Any], scratch: Path, **settings: Any) -> dict[str, str]:
    """Asset -> code version in what `build_defs` makes of a preset and settings, with modules as imported now."""
    path = scratch / "preset.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in preset.items() if key != "name"}))
    definitions = importlib.import_module("personamem_pipeline.definitions")
    chosen = importlib.import_module("personamem_pipeline.settings").Settings(
        home=scratch, preset=str(path), mlflow_uri=f"sqlite:///{scratch / 'mlflow.db'}", seed=None,
        **{"llm_base_url": None, "llm_model": "simulator/1", "llm_api_key": None, **settings},
    )  # fmt: skip
    graph = definitions.build_defs(chosen).resolve_asset_graph()
    found = {key.to_user_string(): graph.get(key).code_version for key in graph.get_all_asset_keys()}
    return {name: found[name] or "" for name in GRAPH}


def with_values(preset: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The preset with other values under dotted names."""
    result: dict[str, Any] = {**preset}
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        result[first] = with_values(result[first] or {}, {rest: value}) if rest else value
    return result
