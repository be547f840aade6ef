"""Corrected margins over HTTP: numbers follow, and what was found can be put back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request

from kellgren.errors import InvalidOption
from kellgren.joint_space.telling.correcting import Correction
from kellgren.joint_space.telling.space_record import JointSpaceRecord
from kellgren.web.api.cases import PROBLEMS, Identifier
from kellgren.web.api.schemas import Problem
from kellgren.web.guard import who_asks
from kellgren.web.notifier import Notifier
from kellgren.web.storage.audit_log import AuditLog
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.corrections import CorrectionStore, NoJointSpace

KneePlace = Annotated[int, Path(ge=1, le=99)]
_ANSWERS: dict[int | str, dict[str, Any]] = PROBLEMS | {
    409: {"model": Problem, "description": "The margins cannot be those of this knee."}
}


class JointSpaceRoutes:
    """Routes over the joint spaces of a store's knees.

    Args:
        store: of the cases.
        notifier: of every change.
        audit: is told of corrections.
    """

    def __init__(self, store: CaseStore, notifier: Notifier, audit: AuditLog) -> None:
        self._corrections = CorrectionStore(store)
        self._notifier, self._audit = notifier, audit
        self.router = router = APIRouter(tags=["cases"], responses=_ANSWERS)
        path = "/api/v1/cases/{case}/knees/{knee}/joint-space"
        router.put(path)(self.correct)
        router.delete(path)(self.restore)

    def correct(
        self, case: Identifier, knee: KneePlace, correction: Correction, request: Request
    ) -> JointSpaceRecord:
        """Keep corrected margins, and measure anew from them; margins that are not sent stay."""
        try:
            changed = self._corrections.correct(case, knee - 1, correction)
        except NoJointSpace:
            raise _missing() from None
        except InvalidOption as error:
            raise HTTPException(409, str(error)) from None
        self._tell("joint space corrected", case, knee, request)
        return changed

    def restore(self, case: Identifier, knee: KneePlace, request: Request) -> JointSpaceRecord:
        """Put the margins that the software found back in place of the corrected ones."""
        try:
            found = self._corrections.restore(case, knee - 1)
        except NoJointSpace:
            raise _missing() from None
        self._tell("joint space restored", case, knee, request)
        return found

    def _tell(self, what: str, case: str, knee: int, request: Request) -> None:
        self._audit.write(what, who_asks(request), case=case, knee=knee)
        self._notifier.notify()


def _missing() -> HTTPException:
    return HTTPException(404, "There is no such measured knee")
