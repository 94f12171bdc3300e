"""How much a network computes for one image: multiply-adds by kind of operator, and what published counts add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from posestudy.ledger.records import Json


@dataclass(frozen=True)
class Work:
    """What a network is and what one forward pass of one image takes.

    Attributes:
        parameters, trainable: numbers in its parameters, all of them and those that are trained.
        convolution, transposed, linear, attention: multiply-adds of convolutions, of transposed ones (a kernel at
            every place of their input), of linear layers, and of products of two activations.
        transposed_by_output: multiply-adds of the transposed convolutions, were there a kernel at every place of
            their output: a common way of counting that charges a stride of 2 four times too much.
        elements: numbers that go through `batch_norm`, `relu`, `add`, `mul` and `softmax`.
    """

    parameters: int
    trainable: int
    convolution: int = 0
    transposed: int = 0
    linear: int = 0
    attention: int = 0
    transposed_by_output: int = 0
    elements: Mapping[str, int] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """All multiply-adds."""
        return self.convolution + self.transposed + self.linear + self.attention

    @property
    def by_operator(self) -> dict[str, int]:
        """Multiply-adds by kind of operator, without those there are none of."""
        kinds = ("convolution", "transposed", "linear", "attention")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}

    def document(self) -> Json:
        """As JSON, for `Work(**document)`."""
        return asdict(self)
