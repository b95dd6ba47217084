"""Property tests for backbones: subclass the kit, say how a small network is built, and pytest runs Hypothesis over it.

    class TestMine(BackboneConformance):
        resized = ((1, 6, 4),)

        def backbone(self, spec, *, step):
            return Mine(spec, step=step, width=16)

Everything but one test is computed in float64, so that what should be equal is equal within rounding.
"""

from backbones.conformance.backbones import BackboneConformance
from backbones.conformance.common import KitSpec

__all__ = ["BackboneConformance", "KitSpec"]
