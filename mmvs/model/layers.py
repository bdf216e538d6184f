"""The layers of an encoder, from input to output: what layer-wise learning rates count."""

from __future__ import annotations

from torch import nn

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def layers(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """An encoder's parameters by layer; every parameter once, no layer empty.

    A block that repeats (of a ResNet, of a transformer) is a layer; so is all that lies between two blocks,
    such as a stem or the embeddings.
    """
    found: list[list[nn.Parameter]] = [[]]  # the last is what lies behind the last block

    def visit(part: nn.Module, is_block: bool) -> None:
        """Sort a part's parameters into `found`, block by block, in the order of the modules."""
        if not any(_blocks(inner) for inner in part.modules()):
            if is_block:
                found.extend([list(part.parameters()), []])
            else:
                found[-1].extend(part.parameters())
            return
        found[-1].extend(part.parameters(recurse=False))
        blocks = _blocks(part)
        for child in part.children():
            visit(child, child in blocks)

    visit(encoder, False)
    seen: set[nn.Parameter] = set()
    unique = [[p for p in layer if not (p in seen or seen.add(p))] for layer in found]
    return [layer for layer in unique if layer]


def _blocks(part: nn.Module) -> list[nn.Module]:
    """Those of a container's members that repeat: of several parts each, and of one class."""
    if not isinstance(part, CONTAINERS):
        return []
    members = [child for child in part.children() if any(True for _ in child.children())]
    if isinstance(part, nn.ModuleList):
        return members
    kinds = [type(member) for member in members]
    return [member for member in members if kinds.count(type(member)) > 1]
