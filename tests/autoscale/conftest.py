"""Ray's autoscaler takes a quarter of a minute for a node: `make test-autoscale` runs these."""

import os

collect_ignore = [] if os.environ.get("DOORSTEP_TEST_AUTOSCALE") == "1" else ["test_autoscale.py"]
