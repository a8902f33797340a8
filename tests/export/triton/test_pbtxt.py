"""The text form of protocol buffers, against the library that reads it."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from vmexport.triton.pbtxt import Symbol, to_text

schema = pytest.importorskip(
    "tritonclient.grpc.model_config_pb2", reason="the triton extra is not installed"
)


def _read(text: str):
    return text_format.Parse(text, schema.ModelConfig())


def test_every_kind_of_value() -> None:
    config = _read(
        to_text(
            {
                "name": "m",
                "max_batch_size": 0,
                "input": [
                    {"name": "a", "data_type": Symbol("TYPE_FP32"), "dims": (1, -1)},
                    {"name": "b", "data_type": Symbol("TYPE_INT64"), "dims": [], "optional": True},
                ],
                "version_policy": {"latest": {"num_versions": 1}},
                "response_cache": {"enable": False},
            }
        )
    )
    assert config.name == "m"
    assert [list(each.dims) for each in config.input] == [[1, -1], []]
    assert [each.data_type for each in config.input] == [schema.TYPE_FP32, schema.TYPE_INT64]
    assert [each.optional for each in config.input] == [False, True]
    assert config.version_policy.latest.num_versions == 1
    assert config.HasField("response_cache")


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert _read(to_text({"name": text})).name == text
