"""Couplings of samples and noise, one per file."""

from objectives.couplings.base import Coupling
from objectives.couplings.class_aware import ClassAwareOT
from objectives.couplings.given_pairs import GivenPairs
from objectives.couplings.independent import Independent
from objectives.couplings.transport import MinibatchOT

__all__ = ["ClassAwareOT", "Coupling", "GivenPairs", "Independent", "MinibatchOT"]
