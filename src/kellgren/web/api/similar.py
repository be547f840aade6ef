"""Similar graded knees of API v1: those of the index that are most similar to a case's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Response

from kellgren.explanation.similar import SimilarKnees
from kellgren.grading.bundle import Bundle
from kellgren.web.api.cases import PROBLEMS, Identifier
from kellgren.web.api.schemas import SimilarKnee, SimilarList
from kellgren.web.storage.cases import CaseStore

SHOWN = 6
_CACHED_S = 86_400  # by the browser: a picture of the index never changes
_NO_INDEX = "There is no index of similar knees for this model"
_OF_CASES, _OF_INDEX = "/api/v1/cases/{case}/knees/{knee}/similar", "/api/v1/similar/{number}.webp"


class SimilarRoutes:
    """Routes over the index.

    Args:
        store: of the cases.
        bundle: that grades them.
        root: path below which the server lies.

    Raises:
        BundleError: the index is damaged or missing.
    """

    def __init__(self, store: CaseStore, bundle: Bundle, root: str) -> None:
        self._root = root
        self._store, self._index = store, SimilarKnees.default()
        self._fits = self._index.places(bundle) is not None
        store.drop_similar_of_other_indexes(self._index.checksum)
        self.router = router = APIRouter(tags=["cases"], responses=PROBLEMS)
        router.get(_OF_CASES)(self.similar)
        router.get(
            _OF_INDEX,
            response_class=Response,
            responses={200: {"content": {"image/webp": {}}, "description": "The file."}},
        )(self.picture)

    def similar(self, case: Identifier, knee: Annotated[int, Path(ge=1, le=99)]) -> SimilarList:
        """Graded knees similar to one of a case; never of its own patient."""
        stored = self._store.case(case)
        if stored is None:
            raise HTTPException(404, "There is no such case")
        nearest = [
            (self._index.knee(number, distance), number)
            for number, distance in self._store.similar(case, knee - 1)
        ]
        shown = [
            SimilarKnee(
                file=similar.file,
                side=similar.side.value,
                grade=int(similar.grade),
                distance=similar.distance,
                picture=self._root + _OF_INDEX.format(number=number),
            )
            for similar, number in nearest
            if not self._store.is_of(stored, similar.patient)
        ]
        source = self._index.source
        return SimilarList(
            knees=shown[:SHOWN],
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
        headers = {"Cache-Control": f"private, max-age={_CACHED_S}"}
        return Response(content, media_type="image/webp", headers=headers)
