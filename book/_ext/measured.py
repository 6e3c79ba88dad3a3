"""The build stops where the prose does not say what the stored tables do: a number, or a sentence that hangs on one."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from icl_lib import prose

LOG = logging.getLogger(__name__)


def complain(app: Sphinx) -> None:
    """Warn of each fault in the prose; warnings stop the build."""
    for complaint in prose.check(Path(app.srcdir), prose.stored()):
        LOG.warning(complaint)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", complain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
