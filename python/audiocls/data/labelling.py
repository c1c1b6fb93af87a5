"""Where the labels of a data set stand, and which of them count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from audiocls.data.tables import KNOWN
from audiocls.errors import ChoiceError, SettingError


@dataclass(frozen=True)
class Labelling:
    """How the labels of a data set are found. All absent: the folder, or the column `label`.

    Raises SettingError for what no data set could honour.
    """

    label_by: str | None = None
    """Where the label stands: a column of the table, or an expression searched in the path; its
    groups, joined by "/", are the label."""
    columns: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    """Which columns of a table hold what: file_name=A,label=B,start_s=C,end_s=D. Nothing after the
    "=": there is no such column, even if one is called so."""
    label_separator: str | None = None
    """What stands between the labels of a recording that has several, such as ';'."""
    table: str | None = None
    """A table that gives labels and lies elsewhere. Its names are relative to DATA, or unique below
    it."""
    annotations: str | None = None
    """A folder of Raven selection tables or Audacity label tracks, each called as its recording."""
    min_overlap: float = 0.5
    """A clip has the label of a stretch if this share of the clip or of the stretch lies in the
    other."""
    background: str | None = None
    """The class of clips that no labelled stretch covers; without a name they are left out."""
    classes: tuple[str, ...] = ()
    """Keep only these labels: A,B."""
    exclude: tuple[str, ...] = ()
    """Leave out recordings whose path, or a folder of it, matches this pattern, such as _noise_ or
    '*/test/*'. May be given several times."""
    encoding: str | None = None
    """Of tables, annotations and folder names that are not UTF-8, such as latin-1."""

    def __post_init__(self) -> None:
        # Pairs, so that it has a hash, as a task on a cluster needs.
        columns = dict(self.columns)
        object.__setattr__(self, "columns", tuple(sorted(columns.items())))
        for name in columns:
            if name not in KNOWN:
                raise ChoiceError("columns", name, KNOWN)
        if not 0 < self.min_overlap <= 1:
            raise SettingError("min_overlap", self.min_overlap, "must be above 0 and at most 1")
        for name in ("label_by", "background", "table", "annotations"):
            if getattr(self, name) == "":
                raise SettingError(name, "", "must not be empty")
        if any(not name.strip() for name in self.classes):
            raise SettingError("classes", ",".join(self.classes), "must be names, such as A,B")
        separator = self.label_separator
        if separator is not None and (not separator or any(c.isalnum() for c in separator)):
            rule = "must be characters that no label has, no letters or digits, such as ';'"
            raise SettingError("label_separator", separator, rule)

    def from_here(self) -> Labelling:
        """The same with absolute paths of what lies on this machine, for another process."""

        def absolute(path: str | None) -> str | None:
            return str(Path(path).absolute()) if path and Path(path).exists() else path

        return replace(self, table=absolute(self.table), annotations=absolute(self.annotations))

    @property
    def events(self) -> dict[str, object]:
        """What decides which labels a clip of an annotated recording has, as store.json has it."""
        background = {} if self.background is None else {"background": self.background}
        return {"min_overlap": self.min_overlap, **background}
