"""What exists: thin `@asset` functions and their checks, one file a stage.

They wire parents, resources and metadata together; the work itself is in `personamem_pipeline`.

The files with assets in them do without `from __future__ import annotations`: Dagster reads the types of an asset's
parameters, and does not resolve that of `context` when it is text.
"""
