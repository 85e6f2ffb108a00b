"""Runs the networks of a bundle with torch, on any of its devices."""

from typing import cast

import torch

from models.bundle import Bundle
from models.colorizers import BinColorizer, Colorizer, HintedColorizer, TapColorizer
from models.ensemble import Ensemble
from models.lab import Float32Array
from models.networks import probabilities_at
from models.runtime import Runtime
from models.vgg import Taps


class TorchNetworks:
    """The networks of a bundle on the device of a runtime; see `models.networks.Networks`."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self._bundle, self._runtime = bundle, runtime
        for network in (*bundle.trunks.values(), bundle.classifier):
            runtime.place(network)

    def features(self, trunk: str, L: Float32Array) -> Taps:
        with self._runtime.inference():
            taps: Taps = self._bundle.trunks[trunk](self._runtime.tensor(L))
            return taps

    def probabilities(self, features: Taps) -> Float32Array:
        with self._runtime.inference():
            probabilities: Float32Array = _array(self._bundle.classifier(features))[0]
            return probabilities

    def stride(self, expert: str) -> int:
        return self._bundle.experts[expert].stride

    def ab(self, expert: str, L: Float32Array, features: Taps | None, hints: Float32Array | None = None) -> Float32Array:
        network: Colorizer = self._runtime.place(self._bundle.experts[expert])
        with self._runtime.inference():
            tensor = self._runtime.tensor(L)
            if isinstance(network, TapColorizer) and features is not None:
                return _array(network.forward_from_taps(features, tensor))
            if isinstance(network, HintedColorizer) and hints is not None:
                planes = self._runtime.tensor(hints)
                return _array(network.decode(network.predict_with_hints(tensor, planes[:, :2], planes[:, 2:]), tensor))
            return _array(network(tensor))

    def distribution(
        self, expert: str, L: Float32Array, features: Taps | None, at: tuple[float, float]
    ) -> tuple[Float32Array, Float32Array] | None:
        network: Colorizer = self._runtime.place(self._bundle.experts[expert])
        if not isinstance(network, BinColorizer):
            return None
        with self._runtime.inference():
            tensor = self._runtime.tensor(L)
            logits = (
                network.predict(tensor) if features is None else cast(TapColorizer, network).predict_from_taps(features, tensor)
            )
            return _array(network.bins.centers), probabilities_at(_array(logits), at)


class TorchEnsemble(Ensemble):
    """An ensemble of networks as they are in memory.

    Args:
        bundle: with its networks.
        runtime: by default the processor, in float32.
    """

    bundle: Bundle

    def __init__(self, bundle: Bundle, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or Runtime()
        super().__init__(bundle, TorchNetworks(bundle, self.runtime))


def _array(tensor: torch.Tensor) -> Float32Array:
    array: Float32Array = tensor.float().cpu().numpy()
    return array
