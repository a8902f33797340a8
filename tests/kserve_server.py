"""A small server of the KServe v2 protocol over a Triton model repository.

It reads ``config.pbtxt`` with Triton's own schema, runs the models with onnxruntime on the
processor and answers over HTTP and gRPC as Triton documents it. It is no Triton: it shows that the
client speaks the protocol, and that folder and configuration say enough to serve the model.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format, text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from vmruntime import Artifact
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["RefusedError", "Served", "grpc_server", "http_server", "read_config"]

LARGEST = 2**31 - 1
"""Bytes of a message, as tritonclient has it."""

Arrays = dict[str, NDArray[np.float32]]


class RefusedError(Exception):
    """A request that the server does not take."""


def read_config(path: Path) -> Any:
    """A ``config.pbtxt`` as Triton reads it: unknown fields and wrong types are errors."""
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


class Served:
    """The models of a repository, loaded and warmed up.

    Parameters
    ----------
    repository
        Every folder in it is a model.
    warm_up
        Run what the configuration says before the first request.
    """

    def __init__(self, repository: Path, *, warm_up: bool = True) -> None:
        self.configs: dict[str, Any] = {}
        self.requests: list[tuple[str, tuple[str, ...]]] = []
        self._backends: dict[str, OnnxRuntimeBackend] = {}
        for folder in sorted(path for path in repository.iterdir() if path.is_dir()):
            config = read_config(folder / "config.pbtxt")
            assert config.name == folder.name
            assert (config.platform, config.backend) == ("onnxruntime_onnx", "onnxruntime")
            model = Artifact.read(folder / "1" / "model.onnx")
            self.configs[config.name] = config
            self._backends[config.name] = OnnxRuntimeBackend(model)
            for sample in config.model_warmup if warm_up else ():
                assert sample.batch_size == 1
                feeds = {
                    name: np.zeros(tuple(tensor.dims), np.float32)
                    for name, tensor in sample.inputs.items()
                }
                self.infer(config.name, feeds, [output.name for output in config.output])
        self.warm_ups, self.requests = len(self.requests), []

    def config(self, name: str) -> Any:
        """A model's configuration."""
        if name not in self.configs:
            raise RefusedError(f"Request for unknown model: '{name}' is not found")
        return self.configs[name]

    def infer(self, name: str, feeds: Arrays, outputs: list[str]) -> Arrays:
        """Run a model, after the checks that Triton makes by its configuration."""
        config = self.config(name)
        if sorted(feeds) != sorted(each.name for each in config.input):
            raise RefusedError(f"expected {len(config.input)} inputs but got {sorted(feeds)}")
        for tensor in config.input:
            shape = feeds[tensor.name].shape
            fits = len(shape) == len(tensor.dims) and all(
                wanted in (-1, size) for size, wanted in zip(shape, tensor.dims, strict=True)
            )
            if not fits:
                raise RefusedError(
                    f"unexpected shape for input '{tensor.name}' for model '{name}'. "
                    f"Expected {list(tensor.dims)}, got {list(shape)}"
                )
        known = [each.name for each in config.output]
        if not set(outputs) <= set(known):
            raise RefusedError(f"unexpected inference output {outputs} for model '{name}'")
        self.requests.append((name, tuple(outputs)))
        return self._backends[name].run(feeds, outputs or known)

    def close(self) -> None:
        """Release the models."""
        for backend in self._backends.values():
            backend.close()


METADATA = {"name": "kserve", "version": "2.0-test", "extensions": ["model_configuration"]}


class _Grpc(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, served: Served) -> None:
        self.served = served

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(**METADATA)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name in self.served.configs)

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        with _aborting(context):
            return service_pb2.ModelConfigResponse(config=self.served.config(request.name))

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        with _aborting(context):
            feeds = {
                tensor.name: np.frombuffer(raw, np.float32).reshape(tuple(tensor.shape))
                for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            asked = [each.name for each in request.outputs]
            found = self.served.infer(request.model_name, feeds, asked)
            answer = service_pb2.ModelInferResponse(model_name=request.model_name)
            for name, array in found.items():
                answer.outputs.add(name=name, datatype="FP32", shape=array.shape)
                answer.raw_output_contents.append(array.tobytes())
            return answer


@contextmanager
def _aborting(context: Any) -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


@contextmanager
def grpc_server(served: Served) -> Iterator[str]:
    """Serve over gRPC; the address, as the client takes it."""
    sizes = [
        ("grpc.max_send_message_length", LARGEST),
        ("grpc.max_receive_message_length", LARGEST),
    ]
    server = grpc.server(ThreadPoolExecutor(2), options=sizes)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Grpc(served), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        if self.path == "/v2":
            self._json(200, METADATA)
        elif found := re.fullmatch(r"/v2/models/([^/]+)/ready", self.path):
            self._json(200 if found[1] in self.served.configs else 400, {})
        elif found := re.fullmatch(r"/v2/models/([^/]+)/config", self.path):
            with self._refusing():
                config = self.served.config(found[1])
                self._json(200, json_format.MessageToDict(config, preserving_proto_field_name=True))
        else:
            self._json(404, {"error": f"no {self.path}"})

    def do_POST(self) -> None:
        found = re.fullmatch(r"/v2/models/([^/]+)/infer", self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        length = int(self.headers["Inference-Header-Content-Length"])
        header, rest = json.loads(body[:length]), body[length:]
        with self._refusing():
            feeds = {}
            for tensor in header["inputs"]:
                size = tensor["parameters"]["binary_data_size"]
                part, rest = rest[:size], rest[size:]
                feeds[tensor["name"]] = np.frombuffer(part, np.float32).reshape(tensor["shape"])
            asked = [each["name"] for each in header.get("outputs", [])]
            self._tensors(found[1], self.served.infer(found[1], feeds, asked))

    def _tensors(self, model: str, arrays: Arrays) -> None:
        outputs = [
            {
                "name": name, "datatype": "FP32", "shape": list(array.shape),
                "parameters": {"binary_data_size": array.nbytes},
            }
            for name, array in arrays.items()
        ]  # fmt: skip
        header = json.dumps({"model_name": model, "model_version": "1", "outputs": outputs})
        content = header.encode() + b"".join(array.tobytes() for array in arrays.values())
        self._answer(200, content, {"Inference-Header-Content-Length": str(len(header))})

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            self._json(400, {"error": str(error)})

    def _json(self, status: int, values: Any) -> None:
        self._answer(status, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """Hang up, too: a connection that is kept alive has a thread of its own."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


@contextmanager
def http_server(served: Served) -> Iterator[str]:
    """Serve over HTTP; the address, as the client takes it."""
    handler = type("Handler", (_Http,), {"served": served})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
