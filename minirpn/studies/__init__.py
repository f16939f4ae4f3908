"""The paper's studies, repeated small: variants of one training, compared over several seeds."""

from minirpn.studies.catalogue import STUDIES, TABLE_8, TABLE_9
from minirpn.studies.runner import StudyResult, measure_run, run_study, write_findings
from minirpn.studies.sizes import TABLE_1
from minirpn.studies.study import Findings, Measured, Outcome, Published, Study, Variant
from minirpn.studies.tables import Difference, Spread, chance_apart, difference, spread

__all__ = [
    "STUDIES",
    "TABLE_1",
    "TABLE_8",
    "TABLE_9",
    "Difference",
    "Findings",
    "Measured",
    "Outcome",
    "Published",
    "Spread",
    "Study",
    "StudyResult",
    "Variant",
    "chance_apart",
    "difference",
    "measure_run",
    "run_study",
    "spread",
    "write_findings",
]
