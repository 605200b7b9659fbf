"""What every part of a preset is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from personamem_pipeline.seeds import digest


class Section(BaseModel):
    """A part of a preset: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))
