"""What networks declare, and that networks of other projects run without declaring anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from basicsr import Deblurrer
from basicsr.archs import build_network
from basicsr.archs.contract import contract_of, export_obstacle, restored
from basicsr.archs.input_rule import InputRule
from basicsr.inference.restoring import restore_image
from basicsr.interchange import exporting, program_files
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.registry import ARCH_REGISTRY
from tests.helpers import training_runs as runs
from tests.helpers.small_networks import SMALL, small


class Plain(nn.Module):
    """Three layers, as somebody writes them in an afternoon."""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, 3, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class Gated(nn.Module):
    """A NAFNet of another project: other argument and parameter names, padded inside, several outputs."""

    def __init__(self, inp: int = 3, ch: int = 4, stages: int = 2) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(inp, ch, 3, 1, 1), nn.Conv2d(ch, inp, 3, 1, 1)
        self.down = nn.ModuleList(nn.Conv2d(ch, ch, 2, 2) for _ in range(stages))
        self.gate = nn.ModuleList(nn.Conv2d(ch, 2 * ch, 1) for _ in range(stages))
        self.padder = 2**stages

    def forward(self, inp: torch.Tensor) -> list[torch.Tensor]:
        height, width = inp.shape[-2:]
        x = F.pad(inp, (0, -width % self.padder, 0, -height % self.padder))
        first = features = self.head(x)
        for down, gate in zip(self.down, self.gate, strict=True):
            a, b = gate(down(features)).chunk(2, 1)
            features = a * b
        features = F.interpolate(features, scale_factor=float(self.padder), mode='nearest')
        result = (self.tail(first + features) + x)[..., :height, :width]
        return [inp, result]


class Strided(Plain):
    """Needs multiples of 8, and does not pad."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 6, 8, 8), nn.ConvTranspose2d(6, 3, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 0.1 * self.up(self.down(x))


class Asserting(Strided):
    """Checks its sizes itself, as window transformers do, and returns the sizes that its strides give."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[-1] % 2 == 0
        return self.up(self.down(x))


class Doubling(nn.Upsample):
    """Returns an image of twice the size."""

    def __init__(self) -> None:
        super().__init__(scale_factor=2)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.weight * x)


class Scoring(Plain):
    """Returns a number after the image."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        result = super().forward(x)
        return result, result.mean()


class FourChannels(nn.Sequential):
    """Takes a gray mask as fourth channel, but does not declare it."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(4, 3, 3, padding=1))


@pytest.fixture(params=[Plain, Gated, Strided])
def foreign(request, monkeypatch):
    """The class, registered for the length of a test."""
    monkeypatch.setitem(ARCH_REGISTRY._entries, request.param.__name__, request.param)
    torch.manual_seed(0)
    return request.param


def test_the_defaults_of_a_network_that_declares_nothing():
    for net in (Plain(), Gated()):
        contract = contract_of(net)
        assert contract.input_rule == InputRule() and contract.tile_rule == InputRule(multiple=(64, 64))
        assert (contract.img_channel, contract.in_channels, contract.out_channels) == (3, 3, 3)
        assert (contract.prior_kind, contract.kernel_role, contract.takes_seeds) == ('none', 'none', False)
        assert contract.returns_image and not contract.bf16_safe and contract.mask_value is None
    assert contract_of(Gated(1)).img_channel == 1
    assert contract_of(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 1))).img_channel == 3


def test_numbers_of_features_are_not_channels_of_the_image():
    net = Plain(64).eval()
    net.in_channels, net.out_channels = 64, 64
    contract = contract_of(net)
    assert (contract.img_channel, contract.in_channels, contract.out_channels) == (3, 3, 3)
    assert restore_image(net, torch.rand(1, 3, 300, 310), tile=200).image.shape == (1, 3, 300, 310)
    views = Gated(9)  # a dual-pixel network: its first convolution shows that the number is not one of features
    views.in_channels, views.out_channels = 9, 3
    contract = contract_of(views)
    assert (contract.img_channel, contract.in_channels, contract.out_channels) == (3, 9, 3)


@pytest.mark.parametrize('name', SMALL)
def test_what_the_networks_of_this_project_declare(name):
    contract = contract_of(small(name))
    regions = name in ('SAMDeblur', 'SegNAFNet', 'SegNAFNetLocal')
    assert contract.prior_kind == ('regions' if regions else 'none') and contract.takes_seeds == regions
    assert contract.mask_value == (1.0 if regions else None)
    roles = {'AnalysisSynthesisNet': 'finds', 'SynthesisNet': 'takes'}
    assert contract.kernel_role == roles.get(name, 'none')
    assert contract.returns_image == (name != 'AnalysisNet')
    assert contract.bf16_safe == ('NAFNet' in name or name in ('PhotoUNet', 'SAMDeblur'))
    assert contract.img_channel == contract.in_channels == contract.out_channels == 3
    gray = contract_of(small('NAFNet', mask=True))
    assert (gray.prior_kind, gray.img_channel, gray.in_channels) == ('gray', 3, 4)


def without_masks(content):
    """The recipe with data sets that read no masks."""
    for block in content['datasets'].values():
        block['type'] = 'PairedImageDataset'
        del block['dataroot_mask']
    return content


def test_training_and_validation(foreign, recipe, tmp_path):
    content = without_masks(recipe(network_g={'type': foreign.__name__}))  # validated images have 28 × 24 pixels
    assert runs.train(tmp_path, content) == 0
    log = runs.log_of(tmp_path, content['name'])
    assert any('l_pix' in line for line in log) and any(np.isfinite(line['psnr']) for line in log if 'psnr' in line)


def test_tiles_and_a_photo(foreign):
    net = foreign().eval()
    lq = torch.rand(1, 3, 389, 431)
    whole = restore_image(net, lq, tile=None).image
    done = restore_image(net, lq, tile=256)
    tiled = done.image
    assert done.tile == 256 and tiled.shape == whole.shape == lq.shape
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-5)  # 64 pixels at each cut are not used
    photo = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    done = Deblurrer(net, device='cpu', guard='off').deblur(photo)
    expected = restore_image(net, torch.from_numpy(photo).permute(2, 0, 1)[None] / 255, tile=None).image
    assert np.abs(done.image - expected[0].permute(1, 2, 0).numpy().clip(0, 1) * 255).max() <= 0.51
    assert done.labels is None


@pytest.mark.parametrize('kind', [Strided, Asserting])
@pytest.mark.parametrize('size', [(101, 90), (3, 5), (128, 64), (389, 431)])
def test_networks_that_need_multiples_get_padded_images_only_where_they_need_them(kind, size):
    net, seen = kind().eval(), []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    lq = torch.rand(1, 3, *size)
    done = restore_image(net, lq, tile=None)
    rule = InputRule(multiple=(64, 64), padding='reflect')
    expected = rule.crop(net(rule.pad(lq)), *size)
    torch.testing.assert_close(done.image, expected, rtol=0, atol=0)
    assert (len(seen) == 2) == (size == (128, 64))
    tiled = restore_image(net, lq, tile=200).image
    torch.testing.assert_close(
        tiled[..., : size[0] - 64, : size[1] - 64], done.image[..., : size[0] - 64, : size[1] - 64]
    )


def test_networks_that_declare_their_multiples_need_not_pad():
    net = Strided().eval()
    net.input_rule = rule = InputRule(multiple=(8, 8))
    lq = torch.rand(1, 3, 301, 290)
    whole = restore_image(net, lq, tile=None).image
    torch.testing.assert_close(whole, rule.crop(net(rule.pad(lq)), 301, 290), rtol=0, atol=0)
    torch.testing.assert_close(restore_image(net, lq, tile=200).image, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('kind', 'reason'), [(Doubling, r'\(1, 3, 202, 180\)'), (Scoring, r'shape \(\)'), (FourChannels, '4 channels')]
)
def test_networks_that_restore_no_image_are_named(kind, reason, recipe, tmp_path, monkeypatch):
    with pytest.raises(ShapeError, match=f'{kind.__name__} .*{reason}.*InputRule'):
        Deblurrer(kind(), device='cpu').deblur(np.zeros((101, 90, 3), np.uint8))
    if kind is FourChannels:
        return
    monkeypatch.setitem(ARCH_REGISTRY._entries, kind.__name__, kind)
    with pytest.raises(ShapeError, match=f'{kind.__name__}: '):
        runs.train(tmp_path, without_masks(recipe(network_g={'type': kind.__name__})))


def test_memory_errors_and_errors_of_networks_with_a_rule_stay_as_they_are():
    class Failing(Plain):
        message = "DefaultCPUAllocator: can't allocate memory"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(self.message)

    with pytest.raises(RuntimeError, match='allocate'):
        restore_image(Failing(), torch.rand(1, 3, 90, 90), tile=None)
    net = Failing()
    net.input_rule, net.message = InputRule(), 'a bug'
    with pytest.raises(RuntimeError, match='a bug'):
        restore_image(net, torch.rand(1, 3, 90, 90))


def test_export(foreign, tmp_path):
    net = foreign().eval()
    assert export_obstacle(net) is None
    program = exporting.program_of(net)
    program_files.write_pt2(program, tmp_path / 'x.pt2', exporting.program_metadata(program))
    run, about = program_files.read_pt2(tmp_path / 'x.pt2')
    assert exporting.largest_difference(program, run) < 1e-5
    assert about['network'] == foreign.__name__


@pytest.mark.filterwarnings('ignore:.torch.jit')
def test_scripted_networks_are_not_exported():
    net = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)))
    for refused in (net, nn.Sequential(net)):
        with pytest.raises(ArgumentError, match='TorchScript'):
            exporting.program_of(refused)


def test_masks_without_a_way_to_tile_are_refused():
    class Guided(Plain):
        def forward(self, x: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return super().forward(x) * (masks >= 0)

    assert contract_of(Guided()).prior_kind == 'regions'
    with pytest.raises(ArgumentError, match='for_tiles'):
        restore_image(Guided().eval(), torch.rand(1, 3, 200, 200), torch.zeros(1, 1, 200, 200).int(), tile=128)


def test_a_backbone_without_its_attributes_is_refused(monkeypatch):
    class Bare(nn.Module):
        def __init__(self, prior_channels: int = 0) -> None:
            super().__init__()
            self.first = nn.Conv2d(3 + prior_channels, 3, 3, padding=1)

        def forward(self, lq: torch.Tensor) -> torch.Tensor:
            return self.first(lq)

    monkeypatch.setitem(ARCH_REGISTRY._entries, 'BareBackbone', Bare)
    with pytest.raises(ArgumentError, match='in_channels'):
        build_network({'type': 'SAMDeblur', 'backbone': {'type': 'BareBackbone'}})


def test_traced_modules_and_outputs_that_are_no_images():
    traced = torch.jit.trace(nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 8, 8))
    assert contract_of(traced).prior_kind == 'none'
    with pytest.raises(ArgumentError, match='dict'):
        restored({'image': torch.zeros(1, 3, 8, 8)})
