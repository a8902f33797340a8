"""Comparing an artifact with the network it was made from."""

from vmexport.verification.limits import Limits
from vmexport.verification.pair import Pair, pair_from_files, phantom_pair
from vmexport.verification.verify import verify

__all__ = ["Limits", "Pair", "pair_from_files", "phantom_pair", "verify"]
