"""The same run with `bespokelabs-curator`, in a virtual environment of its own; imports nothing of this project.

    CURATOR_PYTHON benchmarks/authoring_curator.py BASE_URL rows.jsonl out.jsonl WORK_DIR CONCURRENCY

The settings are those curator documents for an OpenAI-compatible server (docs.bespokelabs.ai, "Online processing" and
the API reference): the `openai` backend with `base_url`; `max_concurrent_requests` as ours; ten retries, its default;
request and token limits so high that they never wait. Without those two limits 0.1.31 made 3 calls a second here; its
`litellm` backend takes no structured output from a server that LiteLLM does not know; its live panel and its plain
progress line are equally fast. Everything that would reach for the internet is off: the viewer, telemetry, LiteLLM's
price list, tiktoken's download (LiteLLM carries the same file).
"""

# mypy: ignore-errors
# What it imports is in the other environment.

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

NO_LIMIT = 1_000_000_000


def main(base_url: str, rows: Path, out: Path, work: Path, concurrency: int) -> None:
    litellm = importlib.util.find_spec("litellm")
    if litellm is None or litellm.origin is None:
        raise SystemExit("bespokelabs-curator brings litellm; this interpreter has none")
    os.environ |= {
        "CURATOR_CACHE_DIR": str(work / "curator"),
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "CURATOR_VIEWER": "0",
        "HF_HOME": str(work / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(work),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TELEMETRY_ENABLED": "false",
        "TIKTOKEN_CACHE_DIR": str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"),
    }
    # Only now: these read the environment when imported.
    from bespokelabs import curator
    from datasets import Dataset
    from pydantic import BaseModel

    class Reply(BaseModel):
        answer: str
        score: int

    class Author(curator.LLM):
        response_format = Reply

        def prompt(self, row: dict[str, Any]) -> list[dict[str, str]]:
            return row["messages"]

        def parse(self, row: dict, reply: BaseModel) -> dict[str, Any]:
            return {"key": row["key"], **reply.model_dump()}

    author = Author(
        model_name="benchmark",
        backend="openai",
        backend_params={
            "base_url": base_url,
            "api_key": "none",
            "max_concurrent_requests": concurrency,
            "max_requests_per_minute": NO_LIMIT,
            "max_tokens_per_minute": NO_LIMIT,
        },
    )
    asked = [json.loads(line) for line in rows.read_text().splitlines()]
    replies = author(Dataset.from_list([{"key": row["key"], "messages": row["messages"]} for row in asked])).dataset
    out.write_text("".join(json.dumps(reply) + "\n" for reply in replies))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
