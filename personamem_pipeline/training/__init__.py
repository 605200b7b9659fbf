"""Training: the tiny base model, the SFT cold start, and GRPO over multi-conversation rollouts."""
