"""These tests need a Docker daemon and images, which `make test-containers` provides."""

from tests.support.containers import containers_wanted

collect_ignore = [] if containers_wanted() else ["test_deployment.py"]
