"""The package's `Transformer`, one position at a time over a cache allocated once.

The weights stay the package's; they are only rearranged, once: transposed for row-vector products, gains folded into
the matrices that follow them, and cross-attention, whose few keys and values are fixed for a whole clip, folded with
them into two small matrices a layer. What the package computes again for every token (position bias, logits of all
positions, a copy of the cache, the second guidance pass) is computed once or not at all.

Shapes: batch B, new positions L, rows N = B L, width d, residual streams s, heads h, head width e, context n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Bias = Callable[[int, int], Tensor]
"""``bias(start, length)`` → what is added to the attention scores of those queries, ``[length, h, start + length]``;
-inf where a key lies in the future."""


def _fold(norm: Any, linear: Any, scale: float = 1.0) -> Tensor:
    """``[d, out]`` such that ``plain_layer_norm(x) @ it`` is the package's ``linear(norm(x)) * scale``."""
    folded: Tensor = (linear.weight * norm.gamma).t().contiguous() * scale
    return folded


@dataclass(frozen=True)
class _Hyper:
    """Hyper-connections around one branch (arXiv 2409.19606): how streams are mixed into the branch and back."""

    dynamic: Tensor  # [d, s + 2]: columns are branch input, s streams, write-back
    static: Tensor  # [s, s + 2]
    scale: Tensor  # [s + 2]

    @classmethod
    def prepare(cls, module: Any) -> _Hyper:
        streams = module.num_residual_streams
        gain = (module.norm.gamma + 1) * module.norm.scale
        dynamic = torch.cat((module.dynamic_alpha_fn, module.dynamic_beta_fn[:, None]), 1) * gain[:, None]
        static = torch.cat((module.static_alpha, module.static_beta[:, None]), 1)
        alpha, beta = module.dynamic_alpha_scale.expand(streams + 1), module.dynamic_beta_scale.expand(1)
        return cls(dynamic.contiguous(), static.clone(), torch.cat((alpha, beta)))

    def read(self, streams: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[N, s, d]`` → branch input ``[N, d]``, mixed streams ``[N, s, d]``, write-back weights ``[N, s, 1]``."""
        n_rows, s, d = streams.shape
        rows = streams.view(-1, d)
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(1e-12)
        dynamic = torch.mm(rows, self.dynamic).div_(length).tanh_().view(n_rows, s, s + 2)
        weights = torch.addcmul(self.static, dynamic, self.scale)
        mixed = torch.bmm(weights[:, :, :-1].transpose(1, 2), streams)
        return mixed[:, 0], mixed[:, 1:], weights[:, :, -1:]


def _write(streams: Tensor, weights: Tensor, branch: Tensor) -> Tensor:
    """Add a branch's output ``[N, d]`` back to the streams."""
    return torch.addcmul(streams, weights, branch[:, None])


@dataclass(frozen=True)
class _Layer:
    hyper_self: _Hyper
    query: Tensor  # [d, h e], scaled by e ** -0.5
    key_value: Tensor  # [d, 2 e]; the package projects keys and values from the input before its norm
    output: Tensor  # [h e, d]
    hyper_cross: _Hyper
    cross: Any
    hyper_feed: _Hyper
    up: Tensor  # [d, 2 inner]
    down: Tensor  # [inner, d]

    @classmethod
    def prepare(cls, modules: Any, *, first: bool) -> _Layer:
        hyper_self, hyper_cross, hyper_feed = modules
        attention, feed = hyper_self.branch, hyper_feed.branch
        width = attention.to_kv.out_features // 2
        key_value = attention.to_kv.weight.t().clone()
        if not first:
            key_value[:, width:] *= 0.5  # values are averaged with the first layer's (value residual, arXiv 2410.17897)
        return cls(
            _Hyper.prepare(hyper_self), _fold(attention.norm, attention.to_q, width**-0.5), key_value,
            attention.to_out[0].weight.t().contiguous(), _Hyper.prepare(hyper_cross), hyper_cross.branch,
            _Hyper.prepare(hyper_feed), _fold(feed[0], feed[1]), _fold(feed[3], feed[5]),
        )  # fmt: skip


class StaticTransformer:
    """Prepared weights of one package transformer with cross-attention.

    Args:
        transformer: ``module.transformer`` of a stage. Later changes to its weights are not seen.
    """

    def __init__(self, transformer: Any) -> None:
        with torch.no_grad():
            self.layers = [_Layer.prepare(layer, first=i == 0) for i, layer in enumerate(transformer.layers)]
            self.gain = transformer.norm.gamma.clone()
        attention = transformer.layers[0][0].branch
        self.heads: int = attention.heads
        self.head_width: int = attention.to_kv.out_features // 2
        self.n_streams: int = transformer.layers[0][0].num_residual_streams

    def open(self, context: Tensor, mask: Tensor | None, capacity: int, bias: Bias) -> Session:
        """Start sequences of at most ``capacity`` positions.

        Args:
            context: conditioning ``[B, n, d]``, already projected.
            mask: ``[B, n]``, False where the context is not to be attended; None for all of it.
            capacity: positions to allocate.
            bias: position bias, see `Bias`.
        """
        return Session(self, context, mask, capacity, bias)


class Session:
    """B sequences being decoded together; `extend` appends positions."""

    def __init__(
        self, model: StaticTransformer, context: Tensor, mask: Tensor | None, capacity: int, bias: Bias
    ) -> None:
        self.model, self.bias, self.length, self.capacity = model, bias, 0, capacity
        self.batch = context.shape[0]
        self._cross = _fold_cross(model, context)
        self._cross_mask: Tensor | None = None
        if mask is not None:
            visible = F.pad(mask, (1, 0), value=True)
            hidden = torch.zeros(visible.shape, device=context.device).masked_fill_(~visible, -torch.inf)
            self._cross_mask = hidden.repeat(1, model.heads)[:, None]
        # keys and values side by side: one product and one write fill both
        shape = (len(model.layers), self.batch, capacity, 2 * model.head_width)
        self._cache = torch.empty(shape, device=context.device, dtype=context.dtype)

    def extend(self, x: Tensor) -> Tensor:
        """Append positions.

        Args:
            x: embeddings ``[B, L, d]``.

        Returns:
            The package's output at those positions, ``[B, L, d]``.
        """
        model, (batch, length, d) = self.model, x.shape
        start, end = self.length, self.length + length
        if end > self.capacity:
            raise ValueError(f"the session holds {self.capacity} positions, {end} are needed")
        e, n_rows, groups = model.head_width, batch * length, length * model.heads
        bias = self.bias(start, length).reshape(groups, end).expand(batch, groups, end)
        streams = x.reshape(n_rows, 1, d).expand(n_rows, model.n_streams, d).contiguous()
        first_values: Tensor | None = None
        for index, layer in enumerate(model.layers):
            inner, mixed, weights = layer.hyper_self.read(streams)
            if first_values is None:
                key_value = torch.mm(inner, layer.key_value)
                first_values = key_value * 0.5
                first_values[:, :e] = 0
            else:
                key_value = torch.addmm(first_values, inner, layer.key_value)
            cache = self._cache[index]
            cache[:, start:end] = key_value.view(batch, length, 2 * e)
            query = torch.mm(F.layer_norm(inner, (d,)), layer.query).view(batch, groups, e)
            scores = torch.baddbmm(bias, query, cache[:, :end, :e].transpose(1, 2))
            attended = torch.bmm(torch.softmax(scores, -1), cache[:, :end, e:])
            streams = _write(mixed, weights, torch.mm(attended.view(n_rows, model.heads * e), layer.output))

            inner, mixed, weights = layer.hyper_cross.read(streams)
            streams = _write(mixed, weights, self._attend_context(index, inner, length))

            inner, mixed, weights = layer.hyper_feed.read(streams)
            value, gate = torch.mm(F.layer_norm(inner, (d,)), layer.up).chunk(2, 1)
            hidden = F.gelu(gate).mul_(value)
            hidden = torch.mm(F.layer_norm(hidden, (hidden.shape[1],)), layer.down)
            streams = _write(mixed, weights, hidden)
        self.length = end
        return F.layer_norm(streams.sum(1), (d,), model.gain).view(batch, length, d)

    def _attend_context(self, index: int, inner: Tensor, length: int) -> Tensor:
        read, write = self._cross[index]
        n_rows, d = inner.shape
        scores = torch.bmm(F.layer_norm(inner, (d,)).view(self.batch, length, d), read)
        if self._cross_mask is not None:
            scores += self._cross_mask
        attention = torch.softmax(scores.view(n_rows, self.model.heads, -1), -1)
        return torch.bmm(attention.view(self.batch, length, -1), write).view(n_rows, d)


@torch.no_grad()
def _fold_cross(model: StaticTransformer, context: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each layer's cross-attention over a fixed context: scores ``[B, d, h (n + 1)]``, output ``[B, h (n + 1), d]``."""
    folded, first_values = [], None
    batch, _, d = context.shape
    for layer in model.layers:
        attention = layer.cross
        keys, values = attention.to_kv(attention.context_norm(context)).chunk(2, -1)
        if first_values is None:
            first_values = values
        else:
            values = 0.5 * (values + first_values)
        null_key, null_value = (null.expand(batch, -1, -1) for null in attention.null_kv)
        keys, values = torch.cat((null_key, keys), 1), torch.cat((null_value, values), 1)
        query = _fold(attention.norm, attention.to_q, model.head_width**-0.5).view(d, model.heads, -1)
        output = attention.to_out[0].weight.view(d, model.heads, -1)
        folded.append(
            (
                torch.einsum("dhe,bne->bdhn", query, keys).reshape(batch, d, -1),
                torch.einsum("bne,dhe->bhnd", values, output).reshape(batch, -1, d),
            )
        )
    return folded
