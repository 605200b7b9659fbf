"""Sections that say how a model reads, and how it is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from personamem_pipeline.presets.section import Section


class MemoryConfig(Section):
    """The protocol by which a model reads a chat: shared by SFT, GRPO, evaluation and `personamem read`."""

    protocol: Literal["memory", "full_context"] = "memory"
    """`memory`: read chunk by chunk, answer from the memory alone. `full_context`: answer from the whole chat, one turn."""
    prompts: Literal["compact", "full"] = "full"
    order: Literal["chunk_first", "memory_first"] = "chunk_first"
    """What comes first in a writing prompt. Chunk first, all rollouts of a history share their longest prefix."""
    reasoning: bool = Field(False, description="replies may think inside <think> tags first; no memory keeps thoughts")
    chunk_tokens: int = Field(gt=0, description="a chunk is whole messages up to this many tokens")
    max_chunks: int = Field(gt=0)
    memory_tokens: int = Field(gt=0, description="cap of one memory, in the model's own tokens")
    answer_tokens: int = Field(gt=0)


class ModelShape(Section):
    """Figures of a decoder, as its config.json has them: what a cost estimate needs where the weights are not at hand."""

    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    intermediate: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    vocabulary: int = Field(gt=0)
    context: int = Field(gt=0, description="most tokens that the model was made for")
    tied: bool = Field(True, description="input and output embeddings are one matrix")


class BaseConfig(Section):
    """The model that training starts from: a local directory in Hugging Face's format."""

    path: str
    """Relative to the project, or absolute."""
    shape: ModelShape | None = None
    """Only for `personamem cost` where `path` does not exist; else config.json is read."""


class LoraConfig(Section):
    """Low-rank adapters (arXiv 2106.09685) on every linear layer; a stored checkpoint has them merged."""

    rank: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class SftConfig(Section):
    """Supervised fine-tuning in the memory-agent format."""

    seed: int = 0
    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="rows (turns) per optimizer step, over all processes")
    micro_batch_rows: int | None = Field(
        None, gt=0, description="rows per forward pass of a process; null: all of them"
    )
    learning_rate: float = Field(gt=0)
    warmup_share: float = Field(0.05, ge=0, le=1)
    write_share: float = Field(0.5, ge=0, le=1, description="share of write turns; the rest are answers")
    open_share: float = Field(0.2, ge=0, le=1, description="share of open-ended questions among the answers")
    targets: Literal["labels", "teacher"] = "labels"
    """`teacher`: the model endpoint writes candidates; the first that the labels accept is the target."""
    teacher_samples: int = Field(4, ge=1, le=64, description="candidates per turn; none accepted: the labelled target")
    lora: LoraConfig | None = None
    processes: int = Field(1, gt=0, description="one per GPU")
    max_grad_norm: float = Field(1.0, gt=0)
    save_steps: int = Field(50, gt=0)

    @model_validator(mode="after")
    def _whole_batches(self) -> SftConfig:
        share, rest = divmod(self.batch_size, self.processes)
        if rest or (self.micro_batch_rows and share % self.micro_batch_rows):
            raise ValueError("batch_size must be a multiple of processes * micro_batch_rows")
        return self


class RewardsConfig(Section):
    """Weights of the rewards; 0 switches one off. `training/rewards` says what each one pays."""

    choice: float = Field(1.0, ge=0, description="1 for the right option, of a multiple-choice answer")
    open_ended: float = Field(1.0, ge=0, description="the judge's 0..1, of an open answer")
    format: float = Field(0.0, ge=0, description="1 for an answer in the asked-for form, that ended by itself")
    stereotype: float = Field(
        0.0, ge=0, description="1 uses the revealed preference, 0.2 generic, -0.5 a guess by group"
    )
    length: float = Field(0.0, ge=0, description="0 down to -1 as a memory goes from 75 % to 100 % of its cap")
    retention: float = Field(0.0, ge=0, description="share of what could be noted that a memory holds")
    forbidden: float = Field(
        0.0, ge=0, description="minus the share of what was to be forgotten that still stands in it"
    )
    anneal_steps: int = Field(
        0, ge=0, description="optimizer steps in which retention's weight falls to 0; 0: it stays"
    )

    @model_validator(mode="after")
    def _answers_pay(self) -> RewardsConfig:
        if not (self.choice or self.open_ended):
            raise ValueError(
                "choice or open_ended must pay: without a reward for answers nothing says what memory is for"
            )
        return self


class GrpoConfig(Section):
    """GRPO over multi-conversation rollouts."""

    seed: int = 0
    steps: int = Field(gt=0)
    prompts_per_step: int = Field(gt=0, description="questions per optimizer step, over all processes")
    questions_per_memory: int = Field(1, gt=0, description="questions asked of each memory; 1 is MemAgent's rule")
    rollouts: int = Field(gt=1, description="memories per history asked about; the group of the baseline")
    micro_batch_rows: int = Field(gt=0, description="rows (turns) per forward and backward pass of a process")
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(0, ge=0)
    temperature: float = Field(1.0, gt=0)
    rewards: RewardsConfig = RewardsConfig()
    scale_rewards: Literal["none", "group"] = "none"
    """`group` divides advantages by the group's standard deviation (GRPO as published, arXiv 2402.03300); Dr. GRPO
    (arXiv 2503.20783) shows that this overweights questions that are nearly solved or nearly hopeless."""
    aggregation: Literal["token", "trajectory", "constant", "row"] = "token"
    """What weighs the same in the loss: all sampled tokens (MemAgent, DAPO), all rollouts (slime), all tokens against a
    fixed length (Dr. GRPO), or all turns, so that a short answer is heard beside a long memory."""
    answer_credit: Literal["share", "own"] = "share"
    """Of M questions to a memory: `share` gives an answer 1/M of its advantage, the exact gradient of the mean reward;
    `own` all of it. With M = 1 they are the same."""
    mask_overlong: bool = Field(True, description="an answer that ran into its cap is scored, but not learned from")
    beta: float = Field(0.0, ge=0, description="weight of the KL term to the start")
    monitor_kl: bool = Field(False, description="log the KL to the start even where beta is 0; holds a second copy")
    epsilon_low: float = Field(0.2, gt=0)
    epsilon_high: float = Field(0.28, gt=0)
    open_share: float = Field(0.2, ge=0, le=1, description="share of open-ended questions in each step")
    engine: Literal["transformers", "vllm_colocate", "vllm_server"] = "transformers"
    """What samples: the trained model itself, a vLLM engine beside it on the same GPU, or a vLLM server."""
    vllm_memory: float = Field(0.5, gt=0, lt=1, description="share of the GPU for a colocated engine")
    importance_clip: float = Field(2.0, ge=1, description="cap of the per-token ratio trained/sampled, with vLLM only")
    lora: LoraConfig | None = None
    processes: int = Field(1, gt=0, description="one per GPU")
    max_grad_norm: float = Field(1.0, gt=0)
    save_steps: int = Field(10, gt=0)

    @property
    def answers(self) -> int:
        """Answers that one process samples per optimizer step."""
        return self.prompts_per_step * self.rollouts // self.processes

    @model_validator(mode="after")
    def _whole_groups(self) -> GrpoConfig:
        if self.prompts_per_step % (self.questions_per_memory * self.processes):
            raise ValueError("prompts_per_step must be a multiple of questions_per_memory * processes")
        if self.monitor_kl and not self.beta and not self.lora and self.processes > 1:
            raise ValueError("monitor_kl needs beta > 0, lora, or one process: a copy of a sharded model is not kept")
        if self.open_share < 1 and not self.rewards.choice:
            raise ValueError("rewards.choice is 0, so open_share must be 1: a choice would be asked for nothing")
        if self.open_share > 0 and not self.rewards.open_ended:
            raise ValueError(
                "rewards.open_ended is 0, so open_share must be 0: open questions would be asked for nothing"
            )
        return self
