"""The live figures of the book: one anywidget class and one front end for each.

In a running notebook the kernel computes, here; on the built page the browser does, in engine.js, with the graphs that
`icl_lib.browser` exported from the torch modules used here. The front ends draw samples, sliders and lines only.
"""

from icl_lib.widgets.attention import AttentionExplorer
from icl_lib.widgets.combinations import ConvexExplorer
from icl_lib.widgets.frequency import FrequencyExplorer
from icl_lib.widgets.mixture import MixtureDraws
from icl_lib.widgets.pretrain import PretrainExplorer
from icl_lib.widgets.selection import SelectionExplorer

__all__ = [
    "AttentionExplorer",
    "ConvexExplorer",
    "FrequencyExplorer",
    "MixtureDraws",
    "PretrainExplorer",
    "SelectionExplorer",
]
