"""Clean XMP packets: drop properties about data that a result does not contain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError

GAIN_MAP_NOTE = 'its HDR part (gain map) is dropped'
DEPTH_MAP_NOTE = 'its depth map is dropped'
"""Notes on data that a result does not contain."""
_MOTION = 'its video (motion photo) is dropped'
_OTHERS = 'further images of its file are dropped'

_NOTE = 'http://ns.adobe.com/xmp/note/'
_CAMERA = 'http://ns.google.com/photos/1.0/camera/'
_NAMESPACES = {  # about data after or beside the image
    'http://ns.adobe.com/hdr-gain-map/1.0/': GAIN_MAP_NOTE,
    'http://ns.apple.com/HDRGainMap/1.0/': GAIN_MAP_NOTE,
    'http://ns.google.com/photos/1.0/container/': '',
    'http://ns.google.com/photos/dd/1.0/': _OTHERS,
}
_PREFIXES = ('MotionPhoto', 'MicroVideo')  # of properties of the camera
_SEMANTICS = {'GainMap': GAIN_MAP_NOTE, 'MotionPhoto': _MOTION, 'Depth': DEPTH_MAP_NOTE}
_OF_FORM = {  # about the kind of samples or the colour profile; wrong after a conversion
    'http://ns.adobe.com/photoshop/1.0/': ('ICCProfile', 'ColorMode'),
    'http://ns.adobe.com/tiff/1.0/': ('PhotometricInterpretation', 'SamplesPerPixel', 'BitsPerSample'),
    'http://ns.adobe.com/exif/1.0/': ('ColorSpace',),
}


def clean_xmp(packet: bytes, keeps_form: bool = True, keeps_extension: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """Drop properties from a packet that do not apply to a new file of the image.

    These are gain maps, videos of motion photos, further images of a container, content credentials that are signed
    inside the file, and the reference to a dropped extension.

    Args:
        packet: XML, as UTF-8 or with an encoding declaration.
        keeps_form: bits, channels and colour profile are unchanged; otherwise their properties are dropped too.
        keeps_extension: the extended XMP of a JPEG is kept.

    Returns:
        the packet, unchanged if nothing was dropped (empty if it is not XML); notes on dropped data.
    """
    if not packet.strip():
        return b'', ()
    try:
        if b'<!DOCTYPE' in packet or b'<!ENTITY' in packet:  # XMP has neither
            raise ValueError
        document = minidom.parseString(packet.strip(b'\0 \r\n\t'))  # noqa: S318 - no entities, see above
        elements = list(document.getElementsByTagName('*'))
        notes = [note for element in elements for note in _cleaned(element, keeps_form, keeps_extension)]
        text = document.toxml(encoding='utf-8')
    except (ExpatError, ValueError, LookupError, RecursionError):
        return b'', ('its XMP is damaged and dropped',)
    if not notes:
        return packet, ()
    return text.split(b'?>', 1)[1].lstrip(), tuple(dict.fromkeys(filter(None, notes)))


def _cleaned(element: Any, keeps_form: bool, keeps_extension: bool) -> Iterator[str]:
    """Drop an element, or attributes of it; yield a note for each, which may be empty."""
    for attribute in list((element.attributes or {}).values()):
        note = _note_on(attribute, attribute.value, keeps_form, keeps_extension)
        if note is not None:
            element.removeAttributeNode(attribute)
            yield note
    note = _note_on(element, _text_of(element), keeps_form, keeps_extension)
    if note is not None and element.parentNode is not None:
        yield from _items_of(element)
        element.parentNode.removeChild(element)
        yield note


def _note_on(node: Any, value: str, keeps_form: bool, keeps_extension: bool) -> str | None:
    """Return the note on a property to drop, which may be empty; None if it is kept."""
    space, name = node.namespaceURI or '', node.localName or ''
    for start, note in _NAMESPACES.items():
        if space.startswith(start):
            return note
    if space == _CAMERA and name.startswith(_PREFIXES):
        return _MOTION
    if name == 'provenance' and value.strip().startswith('self#'):
        return 'its content credentials are dropped'
    if (space, name) == (_NOTE, 'HasExtendedXMP') and not keeps_extension:
        return 'its extended XMP is dropped'
    return '' if not keeps_form and name in _OF_FORM.get(space, ()) else None


def _items_of(element: Any) -> Iterator[str]:
    """Yield a note for each item of a container except for the image itself."""
    for inner in (element, *element.getElementsByTagName('*')):
        named = [a.value for a in (inner.attributes or {}).values() if a.localName == 'Semantic']
        named += [_text_of(inner).strip()] if inner.localName == 'Semantic' else []
        yield from (_SEMANTICS.get(name, _OTHERS) for name in named if name != 'Primary')


def _text_of(element: Any) -> str:
    return ''.join(child.data for child in element.childNodes if child.nodeType == child.TEXT_NODE)
