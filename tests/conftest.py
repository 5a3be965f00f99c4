from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Before anything imports a model hub or the page: tests never reach the network and never write into the home folder.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

# A busy machine is not a failure, and examples found here are not kept in the repository's folder.
settings.register_profile("house", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
