"""The papers of a checkpoint: what it was made from, who made this copy, and whether both can be believed."""
