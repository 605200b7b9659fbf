"""How the world is reached: the store, the model endpoint, the machine that computes, the tracking server.

Each is a `dagster.ConfigurableResource` whose fields are all it needs; `personamem_pipeline.definitions` chooses them
in one place. Work that needs no Dagster belongs in `personamem_pipeline`, not here.
"""
