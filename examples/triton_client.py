r"""Register a pair of scans with a model that a Triton server runs.

::

    vm-export model.pt --triton models/
    tritonserver --model-repository=models/
    python examples/triton_client.py --url grpc://server:8001 --moving m.nii.gz --fixed f.nii.gz \
           --moved moved.nii.gz --moving-seg atlas.nii.gz --moved-seg labels.nii.gz

The server computes the displacement. Everything else is done here by vmruntime, as vm-infer does
it: aligning the scans, bringing them to the model's grid and intensities, carrying them over. What
grid and intensities those are, the server's copy of the model's manifest says. Needs the `triton`
extra.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vmruntime import ArtifactError, BackendError, Manifest, MissingDependencyError, Registrar
from vmruntime.backends import TensorSpec
from vmruntime.cli.command import Command, progress
from vmruntime.errors import BackendUnavailableError, one_line
from vmruntime.io.itk import write_warp
from vmruntime.io.nifti import write_volume
from vmruntime.io.outputs import Outputs
from vmruntime.manifest import MANIFEST_KEY

__all__ = ["TritonBackend", "main"]

FILE = click.Path(path_type=Path)
PROTOCOLS = ("http", "https", "grpc", "grpcs")


class TritonBackend:
    """A model on a Triton server, as a `vmruntime.backends.Backend`.

    Runs of several threads take turns: a connection is for one request at a time. Over http(s), a
    backend is for the thread that made it.

    Parameters
    ----------
    url
        Such as ``"grpc://localhost:8001"`` or ``"http://localhost:8000"``, with an s for TLS.
    model, version
        What the server calls it; an empty version for the server's choice.
    timeout
        Seconds to wait for an answer.

    Raises
    ------
    MissingDependencyError
        tritonclient is not installed.
    BackendUnavailableError
        No server answers there, or the model is not ready.
    ArtifactError, ManifestError
        The model's configuration has no manifest, or not one that this version can use.
    """

    name = "triton"
    checks_fields = False

    def __init__(self, url: str, model: str, version: str = "", timeout: float = 300.0) -> None:
        self.device, self._model, self._model_version = url, model, version
        self._lock = threading.Lock()
        self._timeout: dict[str, Any] = {}
        self._json: dict[str, Any] = {}
        client = self._client = self._open(url, timeout)
        try:
            metadata = self._call(client.get_server_metadata, **self._json, **self._timeout)
            self.version = str(metadata["version"])
            if not self._call(client.is_model_ready, model, version, **self._timeout):
                raise BackendUnavailableError(
                    f"the server at {url} has no model {model!r} that is ready; see its log, and "
                    "what it has under --model"
                )
            config = self._call(
                client.get_model_config, model, version, **self._json, **self._timeout
            )
            self.manifest = self._manifest(config)
        except BaseException:
            self.close()
            raise
        self.precision = self.manifest.precision
        grid = self.manifest.shape or (None, None, None)
        channels = {"moving": 1, "fixed": 1}
        self.inputs = tuple(TensorSpec(n, "float", (1, c, *grid)) for n, c in channels.items())
        fields = ["displacement", "inverse_displacement"][: 1 + self.manifest.diffeomorphic]
        self.outputs = tuple(TensorSpec(n, "float", (1, 3, *grid)) for n in fields)

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Have the server compute the named outputs; see `vmruntime.backends.Backend.run`."""
        inputs = []
        for name, array in feeds.items():
            given = self._kinds.InferInput(name, array.shape, "FP32")
            given.set_data_from_numpy(np.ascontiguousarray(array, np.float32))
            inputs.append(given)
        wanted = [self._kinds.InferRequestedOutput(name) for name in outputs]
        with self._lock:
            if self._client is None:
                raise BackendError("the connection to the server is closed; open it again")
            answer = self._call(
                self._client.infer, self._model, inputs, self._model_version, outputs=wanted,
                **self._timeout,
            )  # fmt: skip
        found = {name: answer.as_numpy(name) for name in outputs}
        missing = [name for name, array in found.items() if array is None]
        if missing:
            raise BackendError(f"the server's answer has no {missing[0]}; export the model again")
        return found

    def close(self) -> None:
        """End the connection. May be called again."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _open(self, url: str, timeout: float) -> Any:
        """A client of tritonclient's for this address."""
        protocol, _, address = url.rpartition("://")
        protocol = protocol or "http"
        if protocol not in PROTOCOLS or not address:
            raise BackendUnavailableError(
                f"{url!r} is no server's address: grpc://HOST:8001 or http://HOST:8000"
            )
        secure = protocol.endswith("s")
        try:
            if protocol.startswith("grpc"):
                import tritonclient.grpc as kinds

                self._timeout, self._json = {"client_timeout": timeout}, {"as_json": True}
                waiting = {}
            else:
                import tritonclient.http as kinds

                waiting = {"connection_timeout": timeout, "network_timeout": timeout}
        except ImportError as error:
            raise MissingDependencyError(
                f"a Triton server needs {error.name}; pip install 'voxelmorph-deploy[triton]'"
            ) from error
        self._kinds: Any = kinds
        return kinds.InferenceServerClient(address.rstrip("/"), ssl=secure, **waiting)

    def _call(self, what: Any, *arguments: Any, **named: Any) -> Any:
        """Ask the server; what goes wrong on the way or there is a `BackendError`."""
        from tritonclient.utils import InferenceServerException

        try:
            return what(*arguments, **named)
        except InferenceServerException as error:
            reason = one_line(error)
            if "UNAVAILABLE" in str(error.status()):
                raise self._no_server(error) from error
            raise BackendError(f"the server at {self.device} says: {reason}") from error
        # The HTTP client lets through what sockets raise.
        except OSError as error:
            raise self._no_server(error) from error

    def _no_server(self, error: Exception) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"no Triton server answers at {self.device} ({one_line(error)}); start it, or give "
            "another --url"
        )

    def _manifest(self, answer: dict[str, Any]) -> Manifest:
        config = answer.get("config", answer)
        stored = config.get("parameters", {}).get(MANIFEST_KEY)
        if stored is None:
            raise ArtifactError(
                f"the model {self._model!r} at {self.device} has no manifest among its parameters; "
                "make its folder with vm-export --triton"
            )
        manifest = Manifest.from_json(stored["string_value"])
        if (manifest.moving_channels, manifest.fixed_channels) != (1, 1):
            raise ArtifactError(
                f"the model {self._model!r} takes more than one channel a scan, this client one"
            )
        return manifest


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--url", default="http://localhost:8000", show_default=True, help="grpc:// or http://"
)
@click.option("--model", default="voxelmorph", show_default=True, help="Its name on the server.")
@click.option("--model-version", default="", help="[default: the server's choice]")
@click.option("--moving", type=FILE, required=True, help="Scan to carry over.")
@click.option("--fixed", type=FILE, required=True, help="Scan to carry it onto.")
@click.option("--moved", type=FILE, required=True, help="The moving scan on the fixed one.")
@click.option("--moving-seg", type=FILE, help="Labels of the moving scan.")
@click.option("--moved-seg", type=FILE, help="Those, carried over.")
@click.option("--warp", type=FILE, help="The transform, as ITK and ANTs read it.")
@click.option("--affine", help="auto, header, none or a file, as for vm-infer.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=300, show_default=True,
    help="Seconds to wait for the server.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done; traceback on a defect.")
def main(**given: Any) -> None:
    """Register a pair of scans with a model that a Triton server runs."""
    if (given["moving_seg"] is None) != (given["moved_seg"] is None):
        raise click.UsageError("--moving-seg and --moved-seg go together")
    announce = progress(given["verbose"])
    with Outputs(force=given["force"]) as outputs:
        files = {
            name: outputs.image(given[name])
            for name in ("moved", "moved_seg", "warp")
            if given[name] is not None
        }
        announce(f"asking {given['url']}")
        server = TritonBackend(
            given["url"], given["model"], given["model_version"], given["timeout"]
        )
        with Registrar(server.manifest, server) as registrar:
            announce("registering")
            result = registrar.register(
                given["moving"],
                given["fixed"],
                affine=given["affine"],
                labels=[given["moving_seg"]] if given["moving_seg"] else [],
            )
        write_volume(files["moved"], result.moved)
        if "moved_seg" in files:
            write_volume(files["moved_seg"], result.moved_labels[0])
        if "warp" in files:
            write_warp(files["warp"], result.transform)
    for code, text in result.warnings:
        click.echo(f"warning: {code}: {text}", err=True)
    seconds = ", ".join(f"{name} {spent:.2f}" for name, spent in result.timings.items())
    click.echo(
        f"{given['moved']}  by {server.name} {server.version} at {server.device}, "
        f"{server.precision}\nseconds    {seconds}"
    )


if __name__ == "__main__":
    main()
