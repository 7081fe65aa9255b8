# SPDX-License-Identifier: Apache-2.0
"""For all suites: property tests are not timed, because the machine may be busy.

They try the same cases every time, so that a failure is about the change at hand;
HYPOTHESIS_PROFILE=random looks further.

A shell starts what is to run in the background with SIGINT ignored, which programs
that tests end by it would inherit.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", settings.get_profile("random"), derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
