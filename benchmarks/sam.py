"""Our masks of Segment Anything against those of the ``segment-anything`` package: time and agreement.

Weights are random, and a random network finds no masks. Therefore the outputs of the decoder are computed and then
replaced by those of a synthetic image of 60 segments: for each point its segment, a dilated segment, and noise.
Thresholds have their defaults.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, Sam
from torch import Tensor, nn

from basicsr.masks.sam.automatic import FastAutomaticMasks
from basicsr.masks.sam.decoder import Candidates, PromptDecoder
from benchmarks.bench import Bench

POINTS_PER_SIDE = 8  # one batch of 64 points; the default grid is 16 such batches
SEGMENTS = 60


def network(model: str) -> Sam:
    """Return Segment Anything with random weights, including biases, whose initial value is zero."""
    torch.manual_seed(0)
    sam = sam_model_registry['vit_b']()
    if model == 'tiny':
        sam.image_encoder = ImageEncoderViT(img_size=1024, embed_dim=32, depth=1, num_heads=2, out_chans=256)
    for parameter in sam.mask_decoder.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return sam.eval()


class Answers:
    """Plausible outputs of a trained network for an image of segments, for the points of the grid in their order."""

    def __init__(self, height: int, width: int) -> None:
        generator = torch.Generator().manual_seed(1)
        scale = 256 / max(height, width)
        rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing='ij')
        bent = torch.stack([rows + 6 * torch.sin(columns / 17), columns + 6 * torch.sin(rows / 23)], -1).view(-1, 2)
        centres = torch.rand(SEGMENTS, 2, generator=generator) * torch.tensor([height, width]) * scale
        weights = 12 * torch.rand(SEGMENTS, generator=generator)
        segments = (torch.cdist(bent, centres) - weights).argmin(1).view(256, 256)
        middles = (torch.arange(POINTS_PER_SIDE) + 0.5) / POINTS_PER_SIDE
        y, x = torch.meshgrid(middles * height * scale, middles * width * scale, indexing='ij')
        inside = segments == segments[y.long().flatten(), x.long().flatten()].view(-1, 1, 1)
        dilated = F.max_pool2d(inside[:, None].float(), 9, 1, 4)[:, 0] > 0
        noise = torch.randn(inside.shape, generator=generator)
        smooth = [20 * F.avg_pool2d(plane[:, None].float(), 3, 1, 1)[:, 0] - 10 for plane in (inside, dilated)]
        rough = 0.3 * F.interpolate(
            torch.randn(len(inside), 1, 64, 64, generator=generator), (256, 256), mode='bicubic'
        )
        self.logits = torch.stack([*(plane + rough[:, 0] for plane in smooth), noise], 1).contiguous()
        base = torch.tensor(
            [0.94, 0.90, 0.80]
        )  # half of the noise passes the threshold of quality, not that of stability
        self.quality = base + torch.tensor([0.05, 0.05, 0.16]) * torch.rand(len(inside), 3, generator=generator)


class Replaced(nn.Module):
    """The package's decoder, whose outputs are discarded; None measures only the steps after it."""

    def __init__(self, decoder: nn.Module | None, answers: Answers) -> None:
        super().__init__()
        self.decoder, self.answers = decoder, answers

    def forward(self, **inputs: Any) -> tuple[Tensor, Tensor]:
        """Return the outputs for the 64 points."""
        if self.decoder is not None:
            self.decoder(**inputs)
        return self.answers.logits, self.answers.quality


class ReplacedHere(PromptDecoder):
    """The same for our decoder; it makes all masks, including those that would be discarded by their quality."""

    answers: Answers
    compute = True

    def set_image(self, embedding: Tensor) -> None:
        """Do nothing if only the steps after the decoder are measured."""
        if self.compute:
            super().set_image(embedding)

    def decode(self, points: Tensor, min_quality: float = -torch.inf) -> Candidates:
        """Return the outputs for the 64 points."""
        if self.compute:
            super().decode(points)
        good = self.answers.quality > min_quality
        return Candidates(self.answers.logits[good], self.answers.quality[good], good.nonzero()[:, 0])


class NoEncoder(nn.Module):
    """A replacement of the image encoder, so that its time is not measured."""

    img_size = 1024

    def forward(self, image: Tensor) -> Tensor:
        """Return an embedding of zeros."""
        return image.new_zeros(1, 256, 64, 64)


def package(sam: Sam, answers: Answers, compute: bool) -> SamAutomaticMaskGenerator:
    """Return the package's generator with replaced outputs."""
    encoder = sam.image_encoder if compute else NoEncoder()
    decoder = Replaced(sam.mask_decoder if compute else None, answers)
    return SamAutomaticMaskGenerator(Sam(encoder, sam.prompt_encoder, decoder).eval(), POINTS_PER_SIDE)


def ours(sam: Sam, answers: Answers, compute: bool, dtype: torch.dtype = torch.float32) -> FastAutomaticMasks:
    """Return our generator with replaced outputs."""
    encoder = sam.image_encoder if compute else NoEncoder()
    masks = FastAutomaticMasks(
        Sam(encoder, sam.prompt_encoder, sam.mask_decoder).eval(), points_per_side=POINTS_PER_SIDE, dtype=dtype
    )
    masks.decoder = ReplacedHere(sam, dtype)
    masks.decoder.answers, masks.decoder.compute = answers, compute
    return masks


@torch.no_grad()
def compare_decoders(bench: Bench, sam: Sam, rounds: int) -> None:
    """Decode 64 prompts on one image, and compare the logits."""
    generator = torch.Generator().manual_seed(2)
    embedding = torch.randn(1, 256, 64, 64, generator=generator)
    points = torch.rand(POINTS_PER_SIDE**2, 2, generator=generator, dtype=torch.float64) * 1024
    labels = torch.ones(len(points), 1, dtype=torch.int)

    def plain() -> Tensor:
        sparse, dense = sam.prompt_encoder((points[:, None], labels), None, None)
        encoding = sam.prompt_encoder.get_dense_pe()
        logits: Tensor = sam.mask_decoder(embedding, encoding, sparse, dense, multimask_output=True)[0]
        return logits.flatten(0, 1)

    expected = plain()
    for name, dtype, target in (('fp32', torch.float32, '≥ 1.6×'), ('bf16', torch.bfloat16, '≥ 2.2×')):
        decoder = PromptDecoder(sam, dtype)

        def run(decoder: PromptDecoder = decoder) -> Tensor:
            decoder.set_image(embedding)
            return decoder.decode(points).logits

        found = run()
        off, signs = (
            (found - expected).abs().max() / expected.abs().max(),
            ((found > 0) != (expected > 0)).float().mean(),
        )
        case = f'decoder, {len(points)} points, {name} (difference {off:.1e}, other signs {100 * signs:.2f} %)'
        bench.compare(case, plain, run, rounds, target)


def compare_generators(bench: Bench, sam: Sam, height: int, width: int, compute: bool, rounds: int) -> None:
    """Make the masks of a photo and count the masks that both keep; without ``compute``, skip encoder and decoder."""
    answers = Answers(height, width)
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    plain, fast = package(sam, answers, compute), ours(sam, answers, compute)
    own, found = plain.generate(photo), fast.generate(photo)
    same = [mask['area'] for mask in own] == found.planes.sum((1, 2)).tolist()
    what = 'whole' if compute else 'after the decoder'
    agreement = f'{len(own)} and {len(found.planes)} masks, areas {"the same" if same else "DIFFERENT"}'
    case = f'{what}, {POINTS_PER_SIDE**2} points, {height}×{width} ({agreement})'
    bench.compare(f'{case}, fp32', lambda: plain.generate(photo), lambda: fast.generate(photo), rounds, '≥ 1.5×')
    if compute:
        half = ours(sam, answers, True, torch.bfloat16)
        bench.compare(f'{case}, bf16', lambda: plain.generate(photo), lambda: half.generate(photo), rounds, '≥ 2×')


def run_sam(bench: Bench) -> None:
    """Masks of Segment Anything with a tiny encoder and the real decoder."""
    sam, rounds = network('tiny'), 3
    compare_decoders(bench, sam, 1 if bench.quick else rounds)
    compare_generators(bench, sam, 512, 512, False, rounds)
    if not bench.quick:
        compare_generators(bench, sam, 720, 1280, False, rounds)
        compare_generators(bench, sam, 512, 512, True, rounds)
