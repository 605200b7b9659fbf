"""A command that ends well and reports nothing."""
