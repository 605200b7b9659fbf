"""What is wrong in a set of released files: a report instead of a crash.

Every record of every table is accounted for: it is usable, or it is lost and has a rejection with the reason. Beside that
stand the flaws of usable rows, how far the evidence could be found, and how well the length of an option gives it away.
"""

from __future__ import annotations

from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.released_checks import Weight
from personamem_pipeline.records import Record, Rejection

FIRST = 5
"""Offenders that are named for each flaw."""


class TableFigures(Record):
    """One table. rows = usable + lost."""

    path: str
    split: str
    rows: int
    usable: int
    lost: int
    persons: int


class FlawCount(Record):
    """One flaw: how often, and where first."""

    kind: str
    weight: Weight
    meaning: str
    count: int
    first: tuple[str, ...]


class LengthFigures(Record):
    """Shares of a type's usable rows in which the right option is the only longest, or the only shortest."""

    pref_type: str
    rows: int
    longest: float
    shortest: float


class ReleasedReport(Record):
    """What `released_inspect.inspect_released` found."""

    root: str
    size: str
    tables: tuple[TableFigures, ...]
    flaws: tuple[FlawCount, ...]
    """Lost rows first, then faults, then notes; the most frequent first."""
    evidence: dict[str, int]
    """How the snippets of usable rows were located (`released_evidence.Located`) -> rows."""
    lengths: tuple[LengthFigures, ...]
    rejections: tuple[Rejection, ...]

    @property
    def faultless(self) -> bool:
        """Nothing worse than a note."""
        return all(flaw.weight == "note" for flaw in self.flaws)

    def refuse(self) -> None:
        """Raise `UserError` with the head of the report unless it is faultless."""
        if self.faultless:
            return
        heads = [f"{flaw.count} x {flaw.kind} (first: {flaw.first[0]})" for flaw in self.flaws if flaw.weight != "note"]
        more = f"; and {len(heads) - FIRST} more kinds" if len(heads) > FIRST else ""
        raise UserError(
            "the released files have faults: " + "; ".join(heads[:FIRST]) + more,
            where=self.root,
            expected="files without faults, because strict reading was asked for",
            remedy="see all of them with `personamem released check`, or read without strict: faulty rows are then rejected "
            "with a reason and the others are read",
        )

    def markdown(self) -> str:
        """The report as Markdown tables."""
        return "\n\n".join(
            f"### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
            + "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
            for title, head, rows in self.sheets()
        )

    def sheets(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """(title, column names, rows of cells) of each table that people are shown."""
        tables = [(t.path, t.split, str(t.rows), str(t.usable), str(t.lost), str(t.persons)) for t in self.tables]
        flaws = [(str(f.weight), f.kind, str(f.count), f.meaning, f.first[0]) for f in self.flaws]
        total = sum(self.evidence.values()) or 1
        evidence = [(how, str(count), f"{count / total:.1%}") for how, count in self.evidence.items()]
        lengths = [(x.pref_type, str(x.rows), f"{x.longest:.1%}", f"{x.shortest:.1%}") for x in self.lengths]
        return [
            ("Tables", ("table", "split", "rows", "usable", "lost", "persons"), [*tables]),
            ("Flaws", ("weight", "kind", "count", "what it is", "first"), [*flaws]),
            (f"Evidence in the {self.size} histories", ("located", "rows", "share"), [*evidence]),
            ("Right option uniquely longest, shortest", ("type", "rows", "longest", "shortest"), [*lengths]),
        ]
