"""Compare our masks of Segment Anything with those of the ``segment-anything`` package: time and agreement.

python -m benchmarks.sam
python -m benchmarks.sam --model vit_b

Weights are random, and a random network finds no masks. Therefore the outputs of the decoder are computed and then
replaced by those of a synthetic image of 60 segments: for each point its segment, a dilated segment, and noise.
Thresholds have their defaults. The tiny model has the real decoder after an encoder of one small layer; ``vit_b``
is the real network and takes ten minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, Sam
from torch import Tensor, nn

from basicsr.masks.label_map import label_map_from_masks
from basicsr.masks.sam.automatic import FastAutomaticMasks
from basicsr.masks.sam.decoder import Candidates, PromptDecoder
from benchmarks.timing import Seconds, header, paired, row

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


def rows(title: str, times: dict[str, Seconds], targets: tuple[str, str]) -> None:
    """Print one row per precision, each compared with the package in float32."""
    row(f'{title}, fp32', {'package': times['package'], 'ours': times['fp32']}, targets[0])
    if 'bf16' in times:
        row(f'{title}, bf16', {'package': times['package'], 'ours': times['bf16']}, targets[1])


@torch.no_grad()
def compare_decoders(sam: Sam, rounds: int) -> None:
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
    sides: dict[str, Callable[[], Any]] = {'package': plain}
    for name, dtype in (('fp32', torch.float32), ('bf16', torch.bfloat16)):
        decoder = PromptDecoder(sam, dtype)

        def run(decoder: PromptDecoder = decoder) -> Tensor:
            decoder.set_image(embedding)
            return decoder.decode(points).logits

        sides[name] = run
        found = run()
        print(
            f'{name}: logits differ by at most {(found - expected).abs().max():.1e}, '
            f'signs at {100 * ((found > 0) != (expected > 0)).float().mean():.3f} % of the pixels; '
            f'the largest logit is {expected.abs().max():.2f}\n'
        )
    rows('decoder, 64 points', paired(sides, rounds), ('≥ 1.6×', '≥ 2.2×'))


def compare_generators(sam: Sam, height: int, width: int, compute: bool, rounds: int) -> None:
    """Make the masks of a photo and count the masks that both keep; without ``compute``, skip encoder and decoder."""
    answers = Answers(height, width)
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    plain, fast = package(sam, answers, compute), ours(sam, answers, compute)
    own, found = plain.generate(photo), fast.generate(photo)
    same = [mask['area'] for mask in own] == found.planes.sum((1, 2)).tolist()
    sides: dict[str, Callable[[], Any]] = {
        'package': lambda: plain.generate(photo),
        'fp32': lambda: fast.generate(photo),
    }
    if compute:
        half = ours(sam, answers, True, torch.bfloat16)
        sides['bf16'] = lambda: half.generate(photo)
    what = 'whole' if compute else 'after the decoder'
    agreement = f'{len(own)} and {len(found.planes)} masks, areas {"the same" if same else "DIFFERENT"}'
    targets = ('≥ 1.5×', '≥ 2×') if compute else ('≥ 1.7×', '')
    rows(f'{what}, 64 points, {height}×{width} ({agreement})', paired(sides, rounds), targets)
    if not compute:
        stack = np.stack([mask['segmentation'] for mask in own])
        planes = found.planes
        seconds = paired({'ours': lambda: label_map_from_masks(planes)}, 5)['ours']
        print(f'| label map of {len(stack)} masks, {height}×{width} | | {seconds.wall * 1e3:.1f} | | | |')


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', choices=('tiny', 'vit_b'), default='tiny', help='network (default: tiny)')
    parser.add_argument('--rounds', type=int, default=3, help='timed rounds (default: 3)')
    arguments = parser.parse_args()
    sam = network(arguments.model)
    header(f'Automatic masks of Segment Anything, {arguments.model}', 'package in fp32')
    compare_decoders(sam, arguments.rounds)
    for height, width in ((512, 512), (720, 1280)):
        compare_generators(sam, height, width, False, arguments.rounds)
    compare_generators(sam, 512, 512, True, arguments.rounds)


if __name__ == '__main__':
    main()
