"""GRPO over multi-conversation rollouts: several write turns and one answer share one reward.

curriculum -> rollouts (episodes with the policy) -> rows (one per turn, tensors) -> trainer (TRL's loss and optimizer).
"""
