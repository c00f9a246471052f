"""What a result's file says is true of it: IPTC and colours stay, nothing speaks of data that are gone."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from basicsr.images.colour_tags import ColourTags, profile_of, read_colour_tags
from basicsr.images.photo import Photo, Stored, load_photo
from basicsr.images.photo_files import encode_photo, save_photo
from basicsr.images.xmp import clean_xmp
from basicsr.utils.errors import ImageFileError
from tests.helpers.metadata import (
    EXTENSION,
    IMAGE,
    XMP,
    avif,
    container,
    extension_segments,
    jpeg,
    packet,
    segment,
)


def result_of(content, tmp_path, suffix='.jpg'):
    """The bytes of a result, and everything that was said on the way."""
    path, out = tmp_path / f'a{suffix}', tmp_path / f'b{suffix}'
    path.write_bytes(content)
    photo = load_photo(path)
    notes = photo.notes + save_photo(out, replace(photo, pixels=255 - photo.pixels))
    return out.read_bytes(), ' '.join(notes)


GONE = {
    'gain map': ('hdrgm:Version="1.0"', container('Primary', 'GainMap'), (b'hdrgm:Version', b'"GainMap"'), 'HDR'),
    'gain map as elements': ('', '<hdrgm:Version>1.0</hdrgm:Version>', (b'hdrgm:Version',), 'HDR'),
    'gain map of Apple': ('HDRGainMap:HDRGainMapVersion="65536"', '', (b'HDRGainMapVersion',), 'HDR'),
    'motion photo': (
        'GCamera:MotionPhoto="1" GCamera:MotionPhotoPresentationTimestampUs="7"',
        container('Primary', 'MotionPhoto'),
        (b'GCamera:MotionPhoto', b'"MotionPhoto"'),
        'motion photo',
    ),
    'micro video': ('GCamera:MicroVideo="1" GCamera:MicroVideoOffset="77"', '', (b'MicroVideo',), 'motion photo'),
    'motion photo as elements': (
        '',
        '<GCamera:MotionPhoto>1</GCamera:MotionPhoto>',
        (b'<GCamera:MotionPhoto',),
        'motion photo',
    ),
    'depth': (
        '',
        container('Primary', 'Depth') + '<Camera:DepthMap>a</Camera:DepthMap>',
        (b'"Depth"', b'<Camera:'),
        'depth',
    ),
    'credentials': ('dcterms:provenance="self#jumbf=/c2pa/a"', '', (b'provenance',), 'credentials'),
    'extension': (
        'xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"',
        '',
        (b'HasExtendedXMP',),
        'extended XMP',
    ),
}


@pytest.mark.parametrize('name', GONE)
def test_properties_of_what_is_gone_are_gone_and_said(name, tmp_path):
    attributes, inside, absent, word = GONE[name]
    content = jpeg(segment(0xE1, XMP + packet(attributes, inside)), trailer=bytes(800))
    assert all(text in content for text in absent)
    result, notes = result_of(content, tmp_path)
    assert not any(text in result for text in absent) and word in notes
    assert b'dc:title="holiday"' in result and b'xpacket end' in result


def test_the_same_in_other_formats(tmp_path):
    untrue, said = packet('GCamera:MotionPhoto="1"'), []
    image = Image.fromarray(IMAGE)
    for suffix in ['.png', '.tif', '.webp', *(['.avif'] if features.check('avif') else [])]:
        buffer = io.BytesIO()
        if suffix == '.png':
            from PIL.PngImagePlugin import PngInfo

            info = PngInfo()
            info.add_itxt('XML:com.adobe.xmp', untrue.decode())
            image.save(buffer, 'PNG', pnginfo=info)
        elif suffix == '.tif':
            image.save(buffer, 'TIFF', tiffinfo={700: untrue})
        else:
            image.save(buffer, suffix[1:].upper(), xmp=untrue)
        assert b'GCamera:MotionPhoto=' in buffer.getvalue()
        result, notes = result_of(buffer.getvalue(), tmp_path, suffix)
        assert b'GCamera:MotionPhoto=' not in result and b'dc:title="holiday"' in result, suffix
        said.append('motion photo' in notes)
    assert all(said)


def test_a_packet_that_is_true_stays_as_it_is(tmp_path):
    plain = packet('photoshop:ICCProfile="sRGB"')
    assert clean_xmp(plain) == (plain, ())
    result, notes = result_of(jpeg(segment(0xE1, XMP + plain)), tmp_path)
    assert XMP + plain in result and not notes
    assert b'ICCProfile' not in clean_xmp(plain, keeps_form=False)[0]
    for broken in (
        b'<x:xmpmeta',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'\xff\xfe\0',
        b'<a>' * 5000 + b'</a>' * 5000,
    ):
        cleaned, notes = clean_xmp(broken)
        assert cleaned == b'' and notes


def test_extended_xmp_is_kept_whole_or_not_spoken_of(tmp_path):
    main = segment(0xE1, XMP + packet('xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"'))
    depth = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:d="http://ns.google.com/photos/1.0/depthmap/"><a d:Data="%b"/>'
        b'</x:xmpmeta>'
    )
    parts = extension_segments(depth % (b'A' * 100_000))
    assert len(parts) == 2
    result, notes = result_of(jpeg(main, *parts), tmp_path)
    assert all(part in result for part in parts) and b'HasExtendedXMP' in result and not notes
    untrue = extension_segments(depth.replace(b'd:Data', b'x:y="" d:Data').replace(b'depthmap', b'container') % b'AA')
    result, notes = result_of(jpeg(main, *untrue), tmp_path)
    assert EXTENSION not in result and b'HasExtendedXMP' not in result and b'holiday' in result and notes


IPTC = b'8BIM\x04\x04\0\0\0\0\0\x1d\x1c\x02x\0\x0fHarbour at dusk\x1c\x02\x19\0\x05boats\0'


@pytest.mark.parametrize('count', [1, 2])
def test_iptc_segments_stay(count, tmp_path):
    segments = [segment(0xED, b'Photoshop 3.0\0' + IPTC + bytes([index])) for index in range(count)]
    result, notes = result_of(jpeg(*segments), tmp_path)
    assert b''.join(segments) in result and not notes
    with Image.open(tmp_path / 'b.jpg') as image:
        assert image.info['photoshop'][0x0404].startswith(b'\x1c\x02x\0\x0fHarbour')


def test_all_comments_stay_and_what_is_neither_iptc_nor_comment_does_not(tmp_path):
    comments = [segment(0xFE, text) for text in (b'first', b'second', b'third')]
    other = segment(0xEB, b'JP\0\x01something signed')
    result, _ = result_of(jpeg(*comments, other, segment(0xED, b'Adobe_CM\0')), tmp_path)
    assert [result.count(comment) for comment in comments] == [1, 1, 1]
    assert b'something signed' not in result and b'Adobe_CM' not in result


def test_a_gain_map_that_only_its_own_segment_speaks_of_is_said(tmp_path):
    result, notes = result_of(jpeg(segment(0xE2, b'urn:iso:std:iso:ts:21496:-1\0\0\0\0\0')), tmp_path)
    assert 'HDR' in notes and b'21496' not in result


def test_the_cases_that_people_reported(shared_data, tmp_path):
    cases = shared_data.parent / 'cases'
    if not cases.is_dir():
        pytest.skip('the folder of cases is not there')
    absent = {
        'ultrahdr.jpg': (b'hdrgm:Version', b'GainMap'),
        'motion_video_removed.jpg': (b'MotionPhoto="1"', b'MicroVideo="1"', b'MicroVideoOffset', b'"MotionPhoto"'),
    }
    for name, texts in absent.items():
        content = (cases / '11-xmp-of-what-is-gone' / name).read_bytes()
        result, notes = result_of(content, tmp_path)
        assert notes and not any(text in result for text in texts) and b'rdf:Description' in result
        assert name != 'ultrahdr.jpg' or b'dc:title="holiday"' in result
    result, _ = result_of((cases / '11-xmp-of-what-is-gone' / 'extxmp.jpg').read_bytes(), tmp_path)
    assert result.count(EXTENSION) == 2 and b'HasExtendedXMP' in result
    iptc = (cases / '18-iptc' / 'iptc.jpg').read_bytes()
    result, _ = result_of(iptc, tmp_path)
    start = iptc.index(b'\xff\xed')
    assert iptc[start : start + 2 + int.from_bytes(iptc[start + 2 : start + 4], 'big')] in result


# --- colours


@pytest.mark.parametrize(
    ('primaries', 'transfer', 'bits'), [(12, 13, 8), (9, 16, 10), (9, 18, 10), (9, 14, 12), (1, 13, 8), (12, 1, 10)]
)
@pytest.mark.parametrize('subsampling', ['444', '422', '420'])
def test_primaries_transfer_and_subsampling_of_avif_stay(primaries, transfer, bits, subsampling, tmp_path):
    content = avif(primaries, transfer, bits, subsampling)
    result, notes = result_of(content, tmp_path, '.avif')
    place, before = result.index(b'nclx'), content.index(b'nclx')
    assert result[place : place + 8] == content[before : before + 8]
    tags = read_colour_tags(result)
    assert (tags.primaries, tags.transfer, tags.bits) == (primaries, transfer, 8)
    assert tags.subsampling == ':'.join(subsampling)
    assert ('converted to 8' in notes) is (bits > 8)
    again = load_photo(tmp_path / 'b.avif').pixels.astype(int)
    assert np.abs(again - (255 - load_photo(tmp_path / 'a.avif').pixels)).mean() < 6


def test_gray_avif_stays_gray(tmp_path):
    if not features.check('avif'):
        pytest.skip('no AVIF here')
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).convert('L').save(buffer, 'AVIF', subsampling='4:0:0')
    result, _ = result_of(buffer.getvalue(), tmp_path, '.avif')
    assert read_colour_tags(result).subsampling == '4:0:0' and load_photo(tmp_path / 'b.avif').pixels.shape[2] == 1


@pytest.mark.parametrize('primaries', [1, 9, 12])
def test_profiles_of_code_points_show_the_colours_they_name(primaries):
    """Red of each, in sRGB by littlecms, against the primaries of the standards."""
    xy = {1: (0.64, 0.33), 9: (0.708, 0.292), 12: (0.68, 0.32)}[primaries]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_of(ColourTags(primaries, 13))))
    x, y, z = profile.profile.red_colorant[0]
    to_d65 = np.array(
        [[0.9554734, -0.0230985, 0.0632593], [-0.0283697, 1.0099954, 0.0210414], [0.0123140, -0.0205077, 1.3303659]]
    )
    light = to_d65 @ (x, y, z)
    assert np.abs(light[:2] / light.sum() - xy).max() < 2e-3  # 16 bits of the colorants
    gray = Image.new('RGB', (1, 1), (100, 100, 100))
    shown = ImageCms.profileToProfile(gray, profile, ImageCms.createProfile('sRGB'))
    assert np.abs(np.asarray(shown).astype(int) - 100).max() <= 1


def test_formats_without_code_points_get_a_profile_or_refuse():
    wide = Photo(IMAGE, stored=Stored('HEIC', more={'colour_tags': ColourTags(12, 13)}))
    content, _ = encode_photo('.jpg', wide)
    with Image.open(io.BytesIO(content)) as image:
        assert image.info['icc_profile'] == profile_of(ColourTags(12, 13))
    hdr = Photo(IMAGE, stored=Stored('HEIC', more={'colour_tags': ColourTags(9, 16)}))
    with pytest.raises(ImageFileError, match='PNG'):
        encode_photo('.jpg', hdr)
    content, _ = encode_photo('.png', hdr)
    assert content[content.index(b'cICP') + 4 :][:4] == bytes([9, 16, 0, 1])
