"""Automatic masks of Segment Anything are those of the ``segment-anything`` package, mask for mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from basicsr.masks import build_generator, label_map_from_masks, masks_from_label_map
from basicsr.masks.sam.automatic import FastAutomaticMasks
from basicsr.masks.sam.decoder import Candidates, PromptDecoder
from basicsr.masks.sam.upsampling import RegionUpsampler, Upsampler
from basicsr.utils.errors import OptionError, WeightsError
from tests.helpers.mask_generators import OPEN
from tests.helpers.tiny_sam import build

pytestmark = pytest.mark.numeric

SIZES = [(120, 160), (161, 90), (64, 64), (37, 200), (21, 30), (1, 7)]  # the network's input is 64 or 80 pixels wide
SOME = {'points_per_side': 8, 'points_per_batch': 10, 'pred_iou_thresh': 0.7}
SOME |= {'stability_score_thresh': 0.3, 'box_nms_thresh': 1.0}  # large random masks share their boxes


def random_sam(seed=1, depth=2, grid=4):
    """A network with large weights, so that masks differ from point to point; qualities are around 1."""
    torch.manual_seed(seed)
    sam = build(depth=depth, grid=grid).eval()
    for name, parameter in sam.mask_decoder.named_parameters():
        if parameter.dim() == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
        else:
            parameter.data *= 2 if 'attn' in name else 4
    _, quality = decoded_by_package(sam, torch.randn(1, 32, grid, grid), 16 * grid * torch.rand(99, 2).double())
    sam.mask_decoder.iou_prediction_head.layers[-1].bias.data[1:] += 1 - quality.mean(0)
    return sam


def photo(height, width, seed=0):
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return np.ascontiguousarray(np.kron(blocks, np.ones((25, 25, 1), np.uint8))[:height, :width])


@torch.no_grad()
def decoded_by_package(sam, embedding, points):
    """All logits (P, 3, h, w) and qualities (P, 3)."""
    labels = torch.ones(len(points), 1, dtype=torch.int)
    sparse, dense = sam.prompt_encoder((points[:, None], labels), None, None)
    return sam.mask_decoder(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )


class PackageDecoder(PromptDecoder):
    """The package's decoder behind our interface, for what must then be equal to the bit."""

    def set_image(self, embedding):
        self.embedding = embedding

    def decode(self, points, min_quality=-math.inf):
        logits, quality = decoded_by_package(self.sam, self.embedding, points)
        good = quality > min_quality
        return Candidates(logits[good], quality[good], good.nonzero()[:, 0])


@pytest.mark.parametrize('chunk', [1, 4, 64])
@pytest.mark.parametrize('depth', [1, 2, 3])
def test_the_decoder_gives_the_packages_logits(depth, chunk):
    sam = random_sam(depth=depth)
    decoder = PromptDecoder(sam, chunk=chunk)
    for seed in range(2):  # the second image forgets the first
        torch.manual_seed(seed)
        embedding, points = torch.randn(1, 32, 4, 4), 64 * torch.rand(11, 2, dtype=torch.float64)
        logits, quality = decoded_by_package(sam, embedding, points)
        assert logits.std() > 1
        assert logits.std(0).mean() > 0.1  # prompts matter
        decoder.set_image(embedding)
        found = decoder.decode(points)
        torch.testing.assert_close(found.logits.view_as(logits), logits, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(found.quality.view_as(quality), quality, atol=1e-4, rtol=1e-5)
        assert found.prompt.tolist() == [prompt for prompt in range(11) for _ in range(3)]


@pytest.mark.parametrize('chunk', [1, 4, 64])
def test_only_good_masks_are_made_and_each_is_that_of_its_point(chunk):
    sam = random_sam(seed=1)
    torch.manual_seed(1)
    embedding, points = torch.randn(1, 32, 4, 4), 64 * torch.rand(23, 2, dtype=torch.float64)
    logits, quality = decoded_by_package(sam, embedding, points)
    in_order = quality.flatten().sort().values
    limit = float(in_order[-12:-10].mean())  # between two answers
    good = quality > limit
    assert not good.any(1).all()  # some prompts have no mask at all
    decoder = PromptDecoder(sam, chunk=chunk)
    decoder.set_image(embedding)
    found = decoder.decode(points, limit)
    torch.testing.assert_close(found.logits, logits[good], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.quality, quality[good], atol=1e-4, rtol=1e-5)
    assert torch.equal(found.prompt, good.nonzero()[:, 0])
    nothing = decoder.decode(points, math.inf)
    assert (nothing.logits.shape, nothing.quality.shape, nothing.prompt.shape) == ((0, 16, 16), (0,), (0,))


def test_the_decoder_in_bfloat16_is_near():
    sam = random_sam()
    torch.manual_seed(2)
    embedding, points = torch.randn(1, 32, 4, 4), 64 * torch.rand(9, 2, dtype=torch.float64)
    logits, _ = decoded_by_package(sam, embedding, points)
    decoder = PromptDecoder(sam, torch.bfloat16)
    decoder.set_image(embedding)
    found = decoder.decode(points)
    assert found.logits.dtype == torch.float32
    off = (found.logits.view_as(logits) - logits).abs()
    assert 1e-4 < off.max() < 0.1 * logits.abs().max()
    assert off.mean() < 0.03 * logits.abs().mean()


def compare_exactly(own, found):
    """Same masks, same numbers, same order."""
    assert [plane.sum() for plane in found.planes] == [mask['area'] for mask in own]
    for index, mask in enumerate(own):
        assert np.array_equal(found.planes[index], mask['segmentation'])
        x0, y0, x1, y1 = found.boxes[index].tolist()
        assert [x0, y0, x1 - x0, y1 - y0] == mask['bbox']
        assert found.points[index].tolist() == mask['point_coords'][0]
        assert found.quality[index] == np.float32(mask['predicted_iou'])
        assert found.stability[index] == pytest.approx(mask['stability_score'], abs=0, nan_ok=True)


def compare_but_for_rounding(own, found):
    """The decoders differ in the last bits: pixels at a cut and masks of equal quality may change sides."""
    assert len(found.planes) == len(own)
    exact = 0
    for index, mask in enumerate(own):
        same_point = (found.points == mask['point_coords'][0]).all(1)
        near = np.abs(found.quality - mask['predicted_iou']) < 1e-4
        (there,) = [k for k in np.flatnonzero(same_point & near) if abs(k - index) <= 1]
        off = np.count_nonzero(found.planes[there] != mask['segmentation'])
        assert off <= 3
        exact += off == 0 and there == index
    assert exact >= 0.8 * len(own)


@pytest.mark.parametrize('limits', [{}, OPEN, {'stability_score_thresh': 0.5}, {'pred_iou_thresh': 9}], ids=str)
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('grid', [4, 5])
def test_masks_are_those_of_the_package_in_its_order(grid, size, limits):
    sam, image = random_sam(seed=1, grid=grid), photo(*size)
    arguments = {**SOME, **limits}
    own = SamAutomaticMaskGenerator(sam, **arguments).generate(image)
    ours = FastAutomaticMasks(sam, **arguments)
    if min(size) > 20 and limits in ({}, OPEN):
        assert len(own) >= 20
        assert len(label_map_from_masks(np.stack([mask['segmentation'] for mask in own]))) > 1  # they overlap
    assert own or 'pred_iou_thresh' in limits or 'stability_score_thresh' in limits or min(size) < 20
    compare_but_for_rounding(own, ours.generate(image))
    ours.decoder = PackageDecoder(sam)
    compare_exactly(own, ours.generate(image))


@pytest.mark.parametrize('size', [(120, 160), (161, 90), (48, 37)], ids=str)
def test_duplicates_are_removed_as_the_package_does(size, monkeypatch):
    """Answers as of a trained network: at each point a disk, a larger one, and noise; default thresholds."""
    sam, image = random_sam(grid=8), photo(*size)  # masks of 32×32
    points = 32 * FastAutomaticMasks(sam, points_per_side=12)._grid * np.array(size)[::-1] / max(size)
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:32, :32]
    centres = points + rng.normal(0, 1, points.shape)
    distance = np.hypot(columns - centres[:, 0, None, None], rows - centres[:, 1, None, None])
    radius = rng.choice([3, 5, 8], len(points))[:, None, None]
    answers = np.stack([10 * (radius - distance), 10 * (radius + 1 - distance), rng.normal(size=distance.shape)], 1)
    logits = torch.from_numpy(answers.clip(-20, 20)).float()
    quality = torch.from_numpy(rng.uniform(0.85, 1, (len(points), 3))).float()
    batches = [slice(start, start + 64) for start in range(0, len(points), 64)]

    turns = iter(batches * 2)
    monkeypatch.setattr(type(sam.mask_decoder), 'forward', lambda self, **_: (logits[k := next(turns)], quality[k]))
    own = SamAutomaticMaskGenerator(sam, points_per_side=12).generate(image)
    ours = FastAutomaticMasks(sam, points_per_side=12)
    ours.decoder = PackageDecoder(sam)
    found = ours.generate(image)
    assert 20 <= len(own) < 150  # many were duplicates
    compare_exactly(own, found)
    assert len(label_map_from_masks(found.planes)) > 1


def test_photos_of_any_sizes_are_encoded_together():
    sam = random_sam()
    ours, images = FastAutomaticMasks(sam, **SOME), [photo(50, 70), photo(90, 40, seed=5), photo(64, 64, seed=6)]
    for image, found in zip(images, ours.generate_all(images), strict=True):
        alone = ours.generate(image)
        assert len(found.planes) == len(alone.planes) >= 20
        assert (found.planes != alone.planes).mean() < 1e-3  # only where a logit is zero up to rounding


def test_one_image_leaves_nothing_to_the_next():
    sam = random_sam()
    ours = FastAutomaticMasks(sam, **SOME)
    first = ours.generate(photo(50, 70))
    ours.generate(photo(90, 40, seed=5))
    again = ours.generate(photo(50, 70))
    assert len(first.planes) >= 20
    assert np.array_equal(first.planes, again.planes)
    assert np.array_equal(first.quality, again.quality)


def smooth_logits(count, side, scale):
    coarse = torch.randn(count, 1, 5, 5, generator=torch.Generator().manual_seed(side))
    return scale * torch.nn.functional.interpolate(coarse, (side, side), mode='bicubic')[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize('size', [(64, 64), (720, 1280), (77, 33), (33, 301), (5, 64), (1, 9)], ids=str)
def test_regions_are_enlarged_as_whole_masks_are(size):
    sam = random_sam()
    larger = max(size)
    input_size = int(size[0] * 64 / larger + 0.5), int(size[1] * 64 / larger + 0.5)
    logits = smooth_logits(24, 16, 5)
    logits[3] = -9  # nowhere
    logits[4] = 9  # everywhere
    logits[5] = -9
    logits[5, 7, 2] = 9  # a point
    logits[6] = torch.where(logits[6] > 0, 10.0, -10.0)  # halfway between is exactly at the cut
    logits[7] = 1.0  # all of it exactly at the higher cut
    logits[8] = -1.0
    logits[9, 2:5] = torch.inf
    logits[10] *= 1e4
    logits[11] *= 1e-4
    planes = sam.postprocess_masks(logits.view(8, 3, 16, 16), input_size, size).flatten(0, 1)
    counts = [(planes > cut).sum((1, 2)) for cut in (1, -1)]
    for kind in (RegionUpsampler, Upsampler):
        # one plane a mask may round otherwise than three: only values between the exact cases are compared there
        chosen = torch.arange(24) if kind is RegionUpsampler else torch.tensor([0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16])
        upsampler = kind(sam, input_size, size)
        stability, boxes = upsampler.measure(logits[chosen])
        torch.testing.assert_close(stability, (counts[0] / counts[1])[chosen], rtol=0, atol=0, equal_nan=True)
        assert np.array_equal(upsampler.planes(logits[chosen]), (planes > 0)[chosen].numpy())
        for plane, box in zip(planes[chosen] > 0, boxes.tolist(), strict=True):
            ys, xs = plane.nonzero(as_tuple=True)
            expected = [int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())] if len(ys) else [0, 0, 0, 0]
            assert box == expected
        assert [len(part) for part in upsampler.measure(logits[:0])] == [0, 0]
        assert upsampler.planes(logits[:0]).shape == (0, *size)


BLOCK = {'type': 'sam', 'model': 'vit_b', 'device': 'cpu'}


@pytest.mark.parametrize('more', [{'crop_n_layers': 1}, {'min_mask_region_area': 30}], ids=str)
def test_crops_and_small_regions_are_the_packages(tiny_sam, more):
    arguments = {**OPEN, 'box_nms_thresh': 0.95, **more}
    image = photo(60, 80)
    labels = build_generator({**BLOCK, 'checkpoint': str(tiny_sam), **arguments, 'dtype': 'auto'})(image)
    network = build()
    network.load_state_dict(torch.load(tiny_sam, weights_only=True))
    own = SamAutomaticMaskGenerator(network.eval(), **arguments).generate(image)
    planes = np.stack([mask['segmentation'] for mask in own])
    assert np.array_equal(masks_from_label_map(labels)[:, 0], planes[planes.any((1, 2))])
    with pytest.raises(OptionError, match='crop_n_layers: 0'):
        build_generator({**BLOCK, 'checkpoint': str(tiny_sam), **more, 'dtype': 'bf16'})


def test_bfloat16_is_recorded_and_changes_little(tiny_sam, monkeypatch):
    image = photo(60, 80)
    block = {**BLOCK, **OPEN, 'checkpoint': str(tiny_sam)}
    full, half = build_generator(block), build_generator({**block, 'dtype': 'bf16'})
    assert 'dtype' not in full.settings
    assert half.settings == {**full.settings, 'dtype': 'bf16'}
    network = build()
    network.load_state_dict(torch.load(tiny_sam, weights_only=True))
    plain = FastAutomaticMasks(network.eval(), **OPEN).generate(image)
    rough = FastAutomaticMasks(network, **OPEN, dtype=torch.bfloat16).generate(image)
    assert len(plain.planes) == len(rough.planes)
    assert not np.array_equal(plain.quality, rough.quality)
    assert np.abs(plain.quality - rough.quality).max() < 0.02
    covered, roughly = (found.planes.mean((0, 1, 2)) for found in (plain, rough))
    assert abs(covered - roughly) < 0.05
    for fast, settings in ((True, half.settings), (False, full.settings)):
        monkeypatch.setattr('basicsr.masks.sam_generator.fast_bfloat16', lambda device, fast=fast: fast)
        assert build_generator({**block, 'dtype': 'auto'}).settings == settings


def test_the_encoder_sees_the_photo_as_the_packages_does():
    """In bfloat16 the encoder is the package's under autocast; its features are near those in float32."""
    sam, image = random_sam(), photo(50, 64)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    seen = []
    ours = FastAutomaticMasks(sam, **SOME, dtype=torch.bfloat16)
    known = ours.decoder.set_image
    ours.decoder.set_image = lambda embedding: (seen.append(embedding), known(embedding))
    ours.generate(image)
    torch.testing.assert_close(seen[0].float(), predictor.features, atol=0.1, rtol=0.1)


def test_the_size_of_a_published_checkpoint_is_told(tiny_sam, tmp_path):
    state = torch.load(tiny_sam, weights_only=True)
    state['image_encoder.patch_embed.proj.weight'] = torch.zeros(1024, 3, 16, 16)
    torch.save(state, tmp_path / 'large.pth')
    with pytest.raises(WeightsError, match=r'large\.pth .*vit_b .*model: vit_l'):
        build_generator({**BLOCK, 'checkpoint': str(tmp_path / 'large.pth')})
