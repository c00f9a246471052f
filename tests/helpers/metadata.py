"""JPEG and AVIF files with chosen metadata."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, features
from skimage import data

IMAGE = cv2.resize(data.astronaut(), (96, 64), interpolation=cv2.INTER_AREA)


XMP, EXTENSION = b'http://ns.adobe.com/xap/1.0/\0', b'http://ns.adobe.com/xmp/extension/\0'


SPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" '
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
    'xmlns:dcterms="http://purl.org/dc/terms/" xmlns:Camera="http://ns.google.com/photos/dd/1.0/camera/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
)


def packet(attributes='', inside=''):
    text = (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {SPACES}><rdf:Description rdf:about="" dc:title="holiday" {attributes}>{inside}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    )
    return text.encode()


def container(*semantics):
    items = ''.join(
        f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{name}" Item:Length="9"/></rdf:li>'
        for name in semantics
    )
    return f'<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory>'


def segment(marker, content):
    return struct.pack('>BBH', 0xFF, marker, len(content) + 2) + content


def jpeg(*segments, trailer=b''):
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, 'JPEG', quality=95)
    whole = buffer.getvalue()
    return whole[:2] + b''.join(segments) + whole[2:] + trailer


def extension_segments(text, guid=b'0123456789ABCDEF0123456789ABCDEF', step=60_000):
    parts = [text[place : place + step] for place in range(0, len(text), step)]
    return [
        segment(0xE1, EXTENSION + guid + struct.pack('>II', len(text), step * index) + part)
        for index, part in enumerate(parts)
    ]


def avif(primaries, transfer, bits=8, subsampling='444', image=IMAGE):
    imagecodecs = pytest.importorskip('imagecodecs')
    if not (features.check('avif') and imagecodecs.AVIF.available):
        pytest.skip('no AVIF here')
    pixels = image if bits == 8 else (image.astype(np.uint16) << (bits - 8))
    colours = {'primaries': primaries, 'transfer': transfer, 'matrix': 6}
    try:
        return bytes(imagecodecs.avif_encode(pixels, level=90, bitspersample=bits, pixelformat=subsampling, **colours))
    except TypeError:
        pytest.skip('the installed imagecodecs writes no colours into AVIF files')
