"""Our checkpoints as Inspect models: `--model personamem/demo`, `personamem/smollm2` or `personamem/DIRECTORY`.

Inspect asks one prompt at a time from many samples at once; here the prompts that wait together become one batch of the
generator that the report uses, so that a reply is the one which the report would have got.
"""

# mypy: disallow-untyped-decorators=False, disallow-subclassing-any=False

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import anyio
import anyio.to_thread
from inspect_ai.model import ChatMessage, ChatMessageUser, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.systems.base import fitting
from personamem_pipeline.memory.generators.base import Closing, Generation, Generator
from personamem_pipeline.memory.generators.find import FoundModel, find_model
from personamem_pipeline.memory.generators.load import load_generator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.settings import load_settings

REPLY_TOKENS = 512
"""Of replies to tasks that set no cap; ours always do."""


@dataclass(eq=False)
class _Waiting:
    prompt: str
    how: tuple[int, float, int]
    """Cap, temperature, seed: one batch has one of each."""
    reply: Generation | None = None


class PersonaMemAPI(ModelAPI):
    """A local model directory behind Inspect's interface.

    `-M engine=vllm` runs it with vLLM, `-M batch_size=N` bounds a batch. Single user messages only, no tools: that is
    what the memory agent was trained on.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        engine: Literal["transformers", "vllm"] = "transformers",
        batch_size: int = 64,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.engine, self.batch_size = engine, batch_size
        if generator is not None:
            self.generator = generator
        self._queue: list[_Waiting] = []
        self._busy = anyio.Lock()

    # Found and loaded when first needed: logs are scored again without the model.
    @cached_property
    def found(self) -> FoundModel:
        """The model directory, and by which protocol the model reads."""
        return find_model(self.model_name, load_settings())

    @property
    def memory(self) -> MemoryConfig:
        return self.found.memory

    @cached_property
    def generator(self) -> Generator:
        return load_generator(self.found.directory, self.engine, batch_size=self.batch_size)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        prompt = _single_turn(input, tools)
        cap = config.max_tokens or REPLY_TOKENS
        if not fitting(prompt, self.generator, cap):
            return self._output("", "model_length", 0, 0)
        reply = await self._reply(_Waiting(prompt, (cap, config.temperature or 0.0, config.seed or 0)))
        stop = "content_filter" if reply.refused else "stop" if reply.finished else "max_tokens"
        return self._output(reply.text, stop, reply.input_tokens, reply.output_tokens)

    async def count_text_tokens(self, text: str) -> int:
        return self.generator.count(text)

    def max_tokens(self) -> int:
        return REPLY_TOKENS

    def max_connections(self) -> int:
        return self.batch_size

    def close(self) -> None:
        loaded = vars(self).get("generator")
        if isinstance(loaded, Closing):
            loaded.close()

    async def _reply(self, own: _Waiting) -> Generation:
        """Whoever comes to its turn first takes along all that wait and are asked for in the same way."""
        self._queue.append(own)
        try:
            async with self._busy:
                if own.reply is None:
                    await self._batch(own)
        finally:
            self._queue = [waiting for waiting in self._queue if waiting is not own]
        assert own.reply is not None, "answered by this call or by one before it"
        return own.reply

    async def _batch(self, own: _Waiting) -> None:
        alike = [waiting for waiting in self._queue if waiting.reply is None and waiting.how == own.how]
        batch = [own, *(waiting for waiting in alike if waiting is not own)][: self.batch_size]
        cap, temperature, seed = own.how
        ask = partial(self.generator.generate, max_tokens=cap, temperature=temperature, seed=seed)
        replies = await anyio.to_thread.run_sync(ask, [waiting.prompt for waiting in batch])
        for waiting, reply in zip(batch, replies, strict=True):
            waiting.reply = reply

    def _output(self, text: str, stop: Any, read: int, written: int) -> ModelOutput:
        output = ModelOutput.from_content(self.model_name, text, stop_reason=stop)
        output.usage = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return output


@modelapi(name="personamem")
def personamem_model() -> type[ModelAPI]:
    return PersonaMemAPI


def _single_turn(messages: list[ChatMessage], tools: list[ToolInfo]) -> str:
    if tools or len(messages) != 1 or not isinstance(messages[0], ChatMessageUser):
        raise UserError(
            f"{len(messages)} messages and {len(tools)} tools",
            where="model personamem",
            expected="one user message and no tools, as the memory agent is trained on",
            remedy="use it with the tasks of personamem_pipeline, or serve the checkpoint with vLLM and use vllm/...",
        )
    return str(messages[0].text)
