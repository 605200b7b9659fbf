"""`personamem lineage`, asked as a program asks it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from personamem_pipeline.cli import main
from tests.passports.chains import Chain


def told(capsys: pytest.CaptureFixture[str], chain: Chain, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Its exit code, and what it told."""
    code = main(["lineage", *arguments, "--store", str(chain.store.root), "--json"])
    return code, json.loads(capsys.readouterr().out)
