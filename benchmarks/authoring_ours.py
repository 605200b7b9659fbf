"""One run of our client over a file of rows, in a process of its own so that it can be timed from its start and killed.

python -m benchmarks.authoring_ours BASE_URL rows.jsonl out.jsonl WORK_DIR CONCURRENCY
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt


class Reply(BaseModel):
    """What is asked for; `authoring_curator.py` has the same."""

    answer: str
    score: int


def prompt(row: dict[str, Any]) -> Prompt[Reply]:
    return Prompt("benchmark", row["instructions"], row["brief"], Reply, row["key"])


def main(base_url: str, rows: Path, out: Path, work: Path, concurrency: int) -> None:
    asked = [json.loads(line) for line in rows.read_text().splitlines()]
    endpoint = Endpoint(base_url, "benchmark", "none", concurrency=concurrency, cache=work / "cache.sqlite")
    replies = endpoint.map([prompt(row) for row in asked])
    with out.open("w") as file:
        for row, reply in zip(asked, replies, strict=True):
            if not isinstance(reply, Refused):
                file.write(json.dumps({"key": row["key"], **reply.model_dump()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
