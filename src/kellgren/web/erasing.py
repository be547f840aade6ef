"""Deleting for good: rows, files, old pages of the database; each deletion in the audit log."""

from __future__ import annotations

import logging

from kellgren.web.storage.audit_log import AuditLog
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.opening import is_of_the_disk
from kellgren.web.storage.studies import Study, StudyStore

LEFT_OVER = (
    "Deleted, but another program is reading the database: its log of changes still holds the old "
    "rows. The server goes on trying to remove them"
)
_log = logging.getLogger("kellgren.web")


class Eraser:
    """Deletes from one store.

    Args:
        store: of the cases.
        audit: is told of each deletion.

    Attributes:
        is_incomplete: what was deleted can still be found in the database's log of changes.
    """

    def __init__(self, store: CaseStore, audit: AuditLog) -> None:
        self._store, self._audit = store, audit
        self._studies = StudyStore(store)
        self.is_incomplete = False

    def delete_case(self, identifier: str, who: str, why: str = "asked for") -> bool:
        """Delete a case with its files; False where there is none."""
        if not self._store.delete(identifier):
            return False
        self._audit.write("case deleted", who, case=identifier, why=why)
        self.finish()
        return True

    def delete_study(self, study: Study, who: str) -> None:
        """Delete a study with its names, reads and comments."""
        self._studies.delete(study)
        self._audit.write("study deleted", who, study=study.id)
        self.finish()

    def finish(self) -> None:
        """Take what was deleted out of the database's log of changes, if that can be done."""
        was_incomplete = self.is_incomplete
        try:
            self.is_incomplete = not self._store.database.forget_old_pages()
        except Exception as error:
            if not is_of_the_disk(error):
                raise
            self.is_incomplete = True
        if self.is_incomplete and not was_incomplete:
            _log.warning("%s", LEFT_OVER)
