"""Requests made up from the API's own description find no server error.

KELLGREN_API_EXAMPLES asks for more of them an operation.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings

from bundle_factory import make_bundle
from kellgren.web.app import Application
from kellgren.web.settings import Limits, Settings

if TYPE_CHECKING:
    import schemathesis

EXAMPLES_EACH = int(os.environ.get("KELLGREN_API_EXAMPLES", "8"))


def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    import schemathesis  # two seconds, which each worker would spend on collecting this file

    app = Application(
        Settings(
            store=tmp_path / "store",
            hosts=frozenset({"testserver", "localhost"}),
            workers=0,
            model=make_bundle(tmp_path / "tiny").folder,
            limits=Limits(queue=10**6),
        )
    )
    answered: Counter[str] = Counter()

    def try_out(operation: schemathesis.schemas.APIOperation) -> None:
        @settings(
            max_examples=EXAMPLES_EACH,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy())
        def once(case: schemathesis.Case) -> None:
            if isinstance(case.query, dict):
                case.query.pop("wait", None)  # nobody grades here
            answer = case.call()
            answered[f"{answer.status_code}"] += 1
            assert answer.status_code < 500, answer.text

        once()

    schema = schemathesis.openapi.from_asgi("/openapi.json", app.asgi())
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:
        try_out(operation)
    app.store.close()
    assert len(operations) >= 11
    assert {"200", "404"} <= answered.keys()
