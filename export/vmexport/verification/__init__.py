"""Comparing an artifact with the network it was made from."""

from vmexport.verification.compare import compare, run_backend
from vmexport.verification.limits import Limits
from vmexport.verification.pair import Pair, VerifyOn, choose_pair, pair_from_files, phantom_pair
from vmexport.verification.verify import verify

__all__ = [
    "Limits",
    "Pair",
    "VerifyOn",
    "choose_pair",
    "compare",
    "pair_from_files",
    "phantom_pair",
    "run_backend",
    "verify",
]
