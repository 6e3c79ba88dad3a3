"""Public signatures carry shapes; in the tests they are checked at run time."""

import jaxtyping

import tests.shapes  # noqa: F401  (the hook finds the checker as an attribute of the package)

jaxtyping.install_import_hook("icl_lib", "tests.shapes.check")

import hypothesis  # noqa: E402
import pytest  # noqa: E402  (the hook must come before anything that imports icl_lib)
import torch  # noqa: E402

torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def unchecked():
    """Signatures unchecked, as outside the tests: to see what the library itself says of bad input."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
