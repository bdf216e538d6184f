"""Any method's masks → scores by the convention of their data set."""

from __future__ import annotations

import warnings

from mmvs.scoring import davis, expressions, samples
from mmvs.scoring.parallel import workers_for
from mmvs.scoring.report import Fault, Report
from mmvs.scoring.request import SAMPLES, Request
from mmvs.scoring.submission import Submission


def score(request: Request) -> Report:
    """Score masks against the truth of a split.

    DataError names what cannot be used as a whole. Faults of single masks are in the report.
    """
    return _score_samples(request) if request.data_set in SAMPLES else _score_expressions(request)


def _score_expressions(request: Request) -> Report:
    from mmvs.data.expressions import Expressions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of faults in the list, which the report names
        data = Expressions(request.truth, request.split)
    data.require_truth(f"scoring {request.data_set}, {request.split}")
    tops = {one.video_id for one in data}
    workers = request.workers or workers_for(sum(len(one.frames) for one in data))
    if request.data_set == "ref-davis17":
        davis.check_numbers(data)
        tops |= set(davis.annotator_folders())
        submission = Submission(request.predictions, tops)
        report = davis.report(request, data, submission, workers)
    else:
        submission = Submission(request.predictions, tops)
        report = expressions.report(request, data, submission, workers)
    report.faults[:0] = [Fault("damaged list", request.split, detail=text) for text in data.faults]
    report.notes += expressions.unknown_folders(submission, tops)
    return report


def _score_samples(request: Request) -> Report:
    from mmvs.data.a2d import A2DSentences
    from mmvs.data.jhmdb import JHMDBSentences

    if request.data_set == "a2d":
        data = A2DSentences(request.truth, request.split)
    else:
        data = JHMDBSentences(request.truth, request.sample_list)
    submission = Submission(request.predictions, data.videos)
    workers = request.workers or workers_for(len(data))
    report = samples.report(request, data, submission, workers)
    report.notes += expressions.unknown_folders(submission, set(data.videos))
    return report
