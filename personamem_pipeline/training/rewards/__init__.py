"""Rewards: small pure functions, each logged, composed by the weights of a preset."""
