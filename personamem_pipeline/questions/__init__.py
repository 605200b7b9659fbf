"""See the design: one room of the pipeline."""
