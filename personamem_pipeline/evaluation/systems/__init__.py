"""Systems under test: one file per way of coming to know a person."""
