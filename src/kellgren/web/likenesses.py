"""Similar graded knees of API v1: those of the index that the model finds most like a case's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import BaseModel, Field

from kellgren.bundle import Bundle
from kellgren.similar import SimilarKnees
from kellgren.web.cases import PROBLEMS, Identifier
from kellgren.web.store import Store

SHOWN = 6
_KEPT_S = 86_400  # by the browser: a picture of the index never changes
_NO_INDEX = "There is no index of similar knees for this model"
_OF_CASES, _OF_INDEX = "/api/v1/cases/{case}/knees/{knee}/similar", "/api/v1/similar/{number}.webp"


class SimilarKnee(BaseModel):
    """One graded knee of the index."""

    file: str = Field(description="As published, without a suffix.")
    side: str
    grade: int = Field(description="As published.")
    distance: float = Field(description="To the model's eyes; 0: the same picture.")
    picture: str


class SimilarList(BaseModel):
    """The graded knees most like one, nearest first; none of the same patient."""

    knees: list[SimilarKnee]
    note: str = Field(description="Why there are none.")
    credit: str
    selection: str = Field(description="Which knees the index holds.")


class SimilarRoutes:
    """Routes over the index.

    Args:
        store: of the cases.
        bundle: that reads them.

    Raises:
        BundleError: the index is damaged or missing.
    """

    def __init__(self, store: Store, bundle: Bundle) -> None:
        self._store, self._index = store, SimilarKnees.default()
        self._fits = self._index.places(bundle) is not None
        store.forget_likenesses_of_others(self._index.checksum)
        self.router = router = APIRouter(tags=["cases"], responses=PROBLEMS)
        router.get(_OF_CASES)(self.similar)
        router.get(
            _OF_INDEX,
            response_class=Response,
            responses={200: {"content": {"image/webp": {}}, "description": "The file."}},
        )(self.picture)

    def similar(self, case: Identifier, knee: Annotated[int, Path(ge=1, le=99)]) -> SimilarList:
        """Graded knees that look like one of a case; never of its own patient."""
        row = self._store.case(case)
        if row is None:
            raise HTTPException(404, "There is no such case")
        near = [
            (self._index.knee(number, far), number)
            for number, far in self._store.similar(case, knee - 1)
        ]
        shown: list[dict[str, Any]] = [
            {
                "file": one.file,
                "side": one.side.value,
                "grade": int(one.grade),
                "distance": one.distance,
                "picture": _OF_INDEX.format(number=number),
            }
            for one, number in near
            if not self._store.is_of(row, one.patient)
        ]
        source = self._index.source
        return SimilarList(
            knees=[SimilarKnee(**one) for one in shown[:SHOWN]],
            note="" if self._fits else _NO_INDEX,
            credit=source.credit,
            selection=source.selection,
        )

    def picture(self, number: Annotated[int, Path(ge=0, lt=2**31)]) -> Response:
        """A knee of the index."""
        try:
            content = self._index.picture(number)
        except IndexError:
            raise HTTPException(404, "There is no such knee") from None
        kept = {"Cache-Control": f"private, max-age={_KEPT_S}"}
        return Response(content, media_type="image/webp", headers=kept)
