"""Serve the simulator over HTTP: `python -m personamem_pipeline.llm.simulator --port 8099`.

Then point any OpenAI client at it: `PERSONAMEM_LLM_BASE_URL=http://127.0.0.1:8099/v1 PERSONAMEM_LLM_MODEL=simulator/1`.
"""

from __future__ import annotations

import argparse

import uvicorn

from personamem_pipeline.llm.simulator.app import app

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: loopback only)")
    parser.add_argument("--port", type=int, default=8099, help="port to bind")
    arguments = parser.parse_args()
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")
