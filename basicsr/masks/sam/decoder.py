"""Segment Anything's mask decoder for many point prompts on one image: the same numbers with less than half the work.

The network is that of arXiv 2304.02643, appendix A. The differences in its computation are exact:

* Values that do not depend on the prompt are computed once per image: the image tokens of the first layer, their
  projections there, and all projections of the positional encoding, because (keys + pe) W = keys W + pe W.
* A prompt has a few tokens, the image thousands. So projections of image tokens are moved to the other side
  of their products: q · (W key) = (Wᵀ q) · key, Σ p (W key) = W (Σ p key), and (Σ p v) W = Σ p (v W). The bias of a key
  adds the same to all that one softmax sees, and the weights of a softmax add up to one.
* The transposed convolutions have stride and kernel 2, so they are matrix products over tokens.
* The mask of token 0, which automatic masks never use, and prompts without a sufficient quality are not upsampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.utils.device import without_autocast


@dataclass(frozen=True)
class Candidates:
    """Masks of sufficient quality for a number of prompts, in the order of (prompt, answer).

    Args:
        logits: (K, 4 h, 4 w) float32, > 0 inside, on the scale of a quarter of the network's input.
        quality: (K,) float32, predicted overlap with the ground truth.
        prompt: (K,) int64, index of the point of each mask.
    """

    logits: Tensor
    quality: Tensor
    prompt: Tensor


@dataclass(frozen=True)
class _Cross:
    """The weights of an attention between prompt tokens and image tokens, split by heads.

    Args:
        image: (heads, d, C) projection of image tokens into scores.
        encoding: (heads, d, N) projection of the positional encoding, with its bias.
        value: (heads, d, C) projection of the values: image tokens, or rows of the output projection.
    """

    image: Tensor
    encoding: Tensor
    value: Tensor


class PromptDecoder:
    """A mask decoder for single foreground points.

    Args:
        sam: the network (``segment_anything.modeling.Sam``), in evaluation mode.
        dtype: of tensors as large as the image; those of prompts stay float32.
        chunk: prompts processed at once; None for one on a CPU, whose cache then contains the image tokens, else 64.
    """

    def __init__(self, sam: Any, dtype: torch.dtype = torch.float32, chunk: int | None = None) -> None:
        self.sam = sam
        self.dtype = dtype
        self.device: torch.device = sam.device
        self.chunk = chunk or (1 if self.device.type == 'cpu' else 64)
        decoder, transformer = sam.mask_decoder, sam.mask_decoder.transformer
        self._layers = list(transformer.layers)
        self._final = transformer.final_attn_token_to_image
        self._grid: tuple[int, int] = tuple(sam.prompt_encoder.image_embedding_size)
        with torch.no_grad(), without_autocast(decoder.iou_token.weight):
            self._encoding = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)[0]  # (N, C)
            self._reads = [self._reading(layer.cross_attn_token_to_image) for layer in self._layers]
            self._writes = [self._writing(layer.cross_attn_image_to_token) for layer in self._layers]
            self._final_read = self._reading(self._final)
            self._norms = [self._cast(layer.norm4.weight, layer.norm4.bias) for layer in self._layers]
            self._prepare_upscaling(decoder.output_upscaling)
        self._source = self._encoding  # image tokens, once there is an image

    def _cast(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.detach().to(self.dtype).contiguous() for tensor in tensors)

    def _reading(self, attention: Any) -> _Cross:
        """Prepare attention of prompt tokens to the image. The bias of the keys has no effect on the softmax."""
        heads = attention.num_heads
        key = _split(attention.k_proj.weight, heads)
        return _Cross(*self._cast(key, key @ self._encoding.T, _split(attention.v_proj.weight, heads)))

    def _writing(self, attention: Any) -> _Cross:
        """Prepare attention of image tokens to the prompt."""
        heads = attention.num_heads
        query = _split(attention.q_proj.weight, heads)
        encoding = query @ self._encoding.T + attention.q_proj.bias.reshape(heads, -1, 1)
        return _Cross(*self._cast(query, encoding, _split(attention.out_proj.weight.T, heads)))

    def _prepare_upscaling(self, upscaling: Any) -> None:
        first, norm, self._activation, second, _ = upscaling
        # (in, out, 2, 2) to (in, 2 · 2 · out): each token becomes four
        weights = [layer.weight.permute(0, 2, 3, 1).flatten(1) for layer in (first, second)]
        biases = [layer.bias.repeat(4) for layer in (first, second)]
        self._upscaling = [self._cast(weight.T, bias) for weight, bias in zip(weights, biases, strict=True)]
        self._up_norm, self._up_eps = self._cast(norm.weight, norm.bias), norm.eps

    @torch.no_grad()
    def set_image(self, embedding: Tensor) -> None:
        """Compute the values shared by all prompts; ``embedding`` is the output of the image encoder (1, C, h, w)."""
        with without_autocast(embedding):
            dense = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
            source = (embedding.float() + dense).flatten(2).transpose(1, 2)[0]
            (self._source,) = self._cast(source)
            read, write = self._layers[0].cross_attn_token_to_image, self._layers[0].cross_attn_image_to_token
            with_encoding = source + self._encoding
            self._first_keys, self._first_queries, self._first_values = self._cast(
                _heads(with_encoding @ read.k_proj.weight.T, read.num_heads).transpose(1, 2),
                _heads(write.q_proj(with_encoding), write.num_heads).transpose(1, 2),
                _heads(read.v_proj(source), read.num_heads),
            )

    @torch.no_grad()
    def decode(self, points: Tensor, min_quality: float = -torch.inf) -> Candidates:
        """Return the masks of points whose predicted quality is above ``min_quality``.

        Args:
            points: (P, 2) x, y in pixels of the network's input.
            min_quality: masks of this or a lower quality are not computed.
        """
        points = points.to(self.device, torch.float32 if self.device.type == 'mps' else points.dtype)
        labels = torch.ones(len(points), 1, dtype=torch.int, device=self.device)
        with without_autocast(self._source):
            prompts, _ = self.sam.prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
            decoder = self.sam.mask_decoder
            fixed = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
            tokens = torch.cat([fixed.expand(len(prompts), -1, -1), prompts], 1)
            queries = self._first_tokens(tokens)  # no image token has changed yet: all prompts at once
            parts = [
                self._decode_chunk(part, part_queries, min_quality)
                for part, part_queries in zip(tokens.split(self.chunk), queries.split(self.chunk), strict=True)
            ]
        offsets = range(0, len(points), self.chunk)
        return Candidates(
            torch.cat([part.logits for part in parts]),
            torch.cat([part.quality for part in parts]),
            torch.cat([part.prompt + offset for part, offset in zip(parts, offsets, strict=True)]),
        )

    def _decode_chunk(self, tokens: Tensor, queries: Tensor, min_quality: float) -> Candidates:
        """Decode tokens, and their state after the first attention to the image (P, T, C), to masks."""
        keys = self._source[None]
        for index, layer in enumerate(self._layers):
            if index:
                queries = _attend_to_self(layer, queries, tokens)
                read = self._read(layer.cross_attn_token_to_image, self._reads[index], queries, tokens, keys)
                queries = layer.norm2(queries + read)
                queries = layer.norm3(queries + layer.mlp(queries))
            keys = self._write(index, queries, tokens, keys)
        queries = queries + self._read(self._final, self._final_read, queries, tokens, keys)
        queries = self.sam.mask_decoder.transformer.norm_final_attn(queries)

        decoder = self.sam.mask_decoder
        quality = decoder.iou_prediction_head(queries[:, 0])[:, 1:]
        good = quality > min_quality
        prompts, answers = good.nonzero(as_tuple=True)
        wanted = torch.unique(prompts)
        size = 4 * self._grid[0], 4 * self._grid[1]
        if not len(wanted):
            return Candidates(quality.new_zeros(0, *size), quality[good], prompts)
        mlps = decoder.output_hypernetworks_mlps
        rows = torch.stack([mlps[number](queries[wanted, 1 + number]) for number in range(1, len(mlps))], 1)
        planes = self._upscale(keys if len(wanted) == len(keys) else keys[wanted], rows)
        return Candidates(planes[torch.searchsorted(wanted, prompts), answers], quality[good], prompts)

    def _first_tokens(self, tokens: Tensor) -> Tensor:
        """Compute the first layer for tokens (P, T, C), up to the change of the image tokens."""
        layer = self._layers[0]
        queries = _attend_to_self(layer, tokens, tokens)
        attention = layer.cross_attn_token_to_image
        query = _scaled(_heads(attention.q_proj(queries + tokens), attention.num_heads))
        query = query.transpose(0, 1).flatten(1, 2).to(self.dtype)  # (heads, P · T, d)
        read = torch.softmax(query @ self._first_keys, -1) @ self._first_values
        read = read.float().unflatten(1, (len(tokens), -1)).permute(1, 2, 0, 3).flatten(2)
        queries = layer.norm2(queries + attention.out_proj(read))
        return torch.as_tensor(layer.norm3(queries + layer.mlp(queries)))

    def _read(self, attention: Any, weights: _Cross, queries: Tensor, tokens: Tensor, keys: Tensor) -> Tensor:
        """Compute the attention of prompt tokens (P, T, C) to image tokens (P, N, C)."""
        query = _scaled(_heads(attention.q_proj(queries + tokens), attention.num_heads)).to(self.dtype)
        prompts, heads, count, _ = query.shape
        shares = torch.softmax(self._scores(query, weights, keys), -1)
        pooled = (shares @ keys).view(prompts, heads, count, -1)  # (P, heads, T, C)
        read = (pooled @ weights.value.transpose(1, 2)).float().transpose(1, 2).flatten(2)
        return torch.as_tensor(attention.out_proj(read + attention.v_proj.bias))

    def _write(self, index: int, queries: Tensor, tokens: Tensor, keys: Tensor) -> Tensor:
        """Return the image tokens (P or 1, N, C) after attention to the prompt and their norm."""
        layer, weights = self._layers[index], self._writes[index]
        attention = layer.cross_attn_image_to_token
        token = _scaled(_heads(attention.k_proj(queries + tokens), attention.num_heads)).to(self.dtype)
        value = _heads(attention.v_proj(queries), attention.num_heads)
        prompts, heads, count, _ = token.shape
        scores = self._scores(token, weights, keys) if index else (token @ self._first_queries).flatten(1, 2)
        shares = torch.softmax(scores.view(prompts, heads, count, -1), 2).flatten(1, 2)
        rows = (value.to(self.dtype) @ weights.value).float() + attention.out_proj.bias / heads
        keys = torch.baddbmm(keys, shares.transpose(1, 2), rows.flatten(1, 2).to(self.dtype))
        weight, bias = self._norms[index]
        return F.layer_norm(keys, keys.shape[-1:], weight, bias, layer.norm4.eps)

    def _scores(self, tokens: Tensor, weights: _Cross, keys: Tensor) -> Tensor:
        """Multiply projected tokens (P, heads, T, d) with projected image tokens: (P, heads · T, N)."""
        folded = (tokens @ weights.image).flatten(1, 2)
        return torch.baddbmm((tokens @ weights.encoding).flatten(1, 2), folded, keys.transpose(1, 2))

    def _upscale(self, keys: Tensor, rows: Tensor) -> Tensor:
        """Upsample image tokens (P, N, C) with weights for each mask (P, M, c) to float32 logits (P, M, 4 h, 4 w)."""
        (first, first_bias), (second, second_bias) = self._upscaling
        fine = F.linear(keys, first, first_bias).unflatten(-1, (4, -1))
        weight, bias = self._up_norm
        fine = self._activation(F.layer_norm(fine, fine.shape[-1:], weight, bias, self._up_eps))
        finer = self._activation(F.linear(fine, second, second_bias).unflatten(-1, (4, -1)))  # (P, N, 4, 4, c)
        logits = finer.flatten(1, 3) @ rows.to(self.dtype).transpose(1, 2)
        height, width = self._grid
        parts: Tensor = logits.float().view(len(keys), height, width, 2, 2, 2, 2, -1)  # rows and columns of both steps
        return parts.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(len(keys), -1, 4 * height, 4 * width)


def _attend_to_self(layer: Any, queries: Tensor, tokens: Tensor) -> Tensor:
    if layer.skip_first_layer_pe:
        return torch.as_tensor(layer.norm1(layer.self_attn(q=queries, k=queries, v=queries)))
    query = queries + tokens
    return torch.as_tensor(layer.norm1(queries + layer.self_attn(q=query, k=query, v=queries)))


def _split(weight: Tensor, heads: int) -> Tensor:
    """Reshape (heads · d, C) to (heads, d, C)."""
    return weight.reshape(heads, -1, weight.shape[-1])


def _heads(x: Tensor, heads: int) -> Tensor:
    """Reshape (..., T, heads · d) to (..., heads, T, d)."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(-2, -3)


def _scaled(x: Tensor) -> Tensor:
    return x / math.sqrt(x.shape[-1])
