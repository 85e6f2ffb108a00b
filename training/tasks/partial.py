"""Training of some parts of a network, the others of which keep their weights."""

from collections.abc import Sequence

from torch import nn

from training.config.section import RecipeError


def freeze_others(network: nn.Module, parts: Sequence[str]) -> nn.ModuleList:
    """Freeze the parameters outside the modules and parameters of these names; nothing if there are none.

    Returns:
        The modules that are left without parameters to train: their batch norm keeps its running statistics in evaluation mode.

    Raises:
        RecipeError: the network has no part of a name.
    """
    names = dict(network.named_parameters())
    for part in parts:
        if not any(_is_within(name, part) for name in names):
            known = ", ".join(name for name, _ in network.named_children())
            raise RecipeError(f"task.parts has {part!r}, and the network consists of {known}: give these, or parts of them.")
    for name, parameter in names.items():
        parameter.requires_grad_(not parts or any(_is_within(name, part) for part in parts))
    modules = (module for module in network.modules() if any(True for _ in module.parameters()))
    return nn.ModuleList(module for module in modules if not any(parameter.requires_grad for parameter in module.parameters()))


def _is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
