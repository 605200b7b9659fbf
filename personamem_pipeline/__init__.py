"""personamem-pipeline: PersonaMem-v2 as an end-to-end, traceable pipeline."""
