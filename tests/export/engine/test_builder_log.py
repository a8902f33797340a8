"""What is kept of what a builder says."""

from __future__ import annotations

import pytest

from vmexport.engine.builder_log import BuilderLog


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "IBuilder::buildSerializedNetwork: Error Code 1: Cuda Runtime (In "
            "generateForCurrent at /_src/runtime/core/cudaDeviceProfile.cpp:221 (cudaError 35: "
            "CUDA driver version is insufficient for CUDA runtime version))",
            "Cuda Runtime (cudaError 35: CUDA driver version is insufficient for CUDA runtime "
            "version)",
        ),
        (
            "IBuilder::buildSerializedNetwork: Error Code 7: BuildCanceled (Build canceled by user "
            "In next at /_src/optimizer/common/scopedProgressReporter.cpp:92)",
            "BuildCanceled (Build canceled by user)",
        ),
        (
            "Error Code: 9: Myelin ([tactic.cpp:1676: enumerate_tactics] Tactic Selection: no "
            "tactics; [tactic.cpp:26: run] Selection failed.)",
            "Error Code: 9: Myelin (Tactic Selection: no tactics; Selection failed.)",
        ),
        ("two\nlines", "two lines"),
    ],
)
def test_the_first_error_is_the_reason_without_clutter(said: str, reason: str) -> None:
    log = BuilderLog()
    log.add("ERROR", said)
    log.add("INTERNAL_ERROR", "and what followed from it")
    assert log.reason() == reason


def test_warnings_once_and_the_activation_memory() -> None:
    log = BuilderLog()
    for severity, message in (
        ("WARNING", "slow"),
        ("WARNING", "slow"),
        ("INFO", "Total Activation Memory: 283443200 bytes"),
        ("VERBOSE", "nothing"),
    ):
        log.add(severity, message)
    assert log.warnings == ["slow"]
    assert log.activation_bytes == 283443200
    assert log.reason() == "it gave no reason"
