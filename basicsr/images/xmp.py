"""Clean XMP packets: properties that speak of data which a result does not hold are taken out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError

_NOTE = 'http://ns.adobe.com/xmp/note/'
_CAMERA = 'http://ns.google.com/photos/1.0/camera/'
GAIN_MAP_NOTE = 'its HDR part (gain map) is left out'
_MOTION = 'its video (motion photo) is left out'
_CREDENTIALS = 'its content credentials are left out'
_OTHERS = 'further images of its file are left out'

_NAMESPACES = {  # everything in them speaks of data that lie behind or beside the image
    'http://ns.adobe.com/hdr-gain-map/1.0/': GAIN_MAP_NOTE,
    'http://ns.apple.com/HDRGainMap/1.0/': GAIN_MAP_NOTE,
    'http://ns.google.com/photos/1.0/container/': '',
    'http://ns.google.com/photos/dd/1.0/': _OTHERS,
}
_PREFIXES = ('MotionPhoto', 'MicroVideo')  # of properties of the camera
_SEMANTICS = {'GainMap': GAIN_MAP_NOTE, 'MotionPhoto': _MOTION, 'Depth': 'its depth map is left out'}
_OF_FORM = {  # what states the form of the pixels or their profile; untrue once colours were converted
    ('http://ns.adobe.com/photoshop/1.0/', 'ICCProfile'),
    ('http://ns.adobe.com/photoshop/1.0/', 'ColorMode'),
    ('http://ns.adobe.com/tiff/1.0/', 'PhotometricInterpretation'),
    ('http://ns.adobe.com/tiff/1.0/', 'SamplesPerPixel'),
    ('http://ns.adobe.com/tiff/1.0/', 'BitsPerSample'),
    ('http://ns.adobe.com/exif/1.0/', 'ColorSpace'),
}


def clean_xmp(packet: bytes, keeps_form: bool = True, keeps_extension: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """Take out of a packet what is not true of an image that is written anew.

    Gone are gain maps, videos of motion photos, further images of a container, content credentials that are signed
    inside the file, and the reference to an extension that is not kept; all other properties stay.

    Args:
        packet: the XML, UTF-8 or with an encoding of its own.
        keeps_form: bits, channels and colour profile stay what they were; else what states them is taken out.
        keeps_extension: the extended XMP of a JPEG is kept.

    Returns:
        the packet, unchanged if nothing was to be done (empty if it is no XML), and what was left out, in words.
    """
    if not packet.strip():
        return b'', ()
    try:
        if b'<!DOCTYPE' in packet or b'<!ENTITY' in packet:  # XMP has neither
            raise ValueError
        document = minidom.parseString(packet.strip(b'\0 \r\n\t'))  # noqa: S318 - no entities, see above
        reasons = [
            reason for element in list(_elements(document)) for reason in _cleaned(element, keeps_form, keeps_extension)
        ]
        text = document.toxml(encoding='utf-8')
    except (ExpatError, ValueError, LookupError, RecursionError):
        return b'', ('its XMP is damaged and left out',)
    if not reasons:
        return packet, ()
    return text.split(b'?>', 1)[1].lstrip(), tuple(dict.fromkeys(reason for reason in reasons if reason))


def speaks_of_other_data(packet: bytes) -> bool:
    """Whether a packet has properties that :func:`clean_xmp` takes out, or cannot be read."""
    return clean_xmp(packet, keeps_extension=True)[0] != packet


def _cleaned(element: Any, keeps_form: bool, keeps_extension: bool) -> Iterator[str]:
    """Take an element or attributes of it out; one reason for each, empty if nobody needs to know."""
    for attribute in list((element.attributes or {}).values()):
        reason = _untrue(attribute, attribute.value, keeps_form, keeps_extension)
        if reason is not None:
            element.removeAttributeNode(attribute)
            yield reason
    reason = _untrue(element, _text_of(element), keeps_form, keeps_extension)
    if reason is not None and element.parentNode is not None:
        yield from _items_of(element)
        element.parentNode.removeChild(element)
        yield reason


def _untrue(node: Any, value: str, keeps_form: bool, keeps_extension: bool) -> str | None:
    """Why a property cannot stay (empty if nobody needs to know); None if it can."""
    space, name = node.namespaceURI or '', node.localName or ''
    for start, note in _NAMESPACES.items():
        if space.startswith(start):
            return note
    if space == _CAMERA and name.startswith(_PREFIXES):
        return _MOTION
    if name == 'provenance' and value.strip().startswith('self#'):
        return _CREDENTIALS
    if (space, name) == (_NOTE, 'HasExtendedXMP') and not keeps_extension:
        return 'its extended XMP is left out'
    return '' if not keeps_form and (space, name) in _OF_FORM else None


def _items_of(element: Any) -> Iterator[str]:
    """What the items of a container are beside the image itself, in words."""
    for inner in _elements(element):
        named = [a.value for a in (inner.attributes or {}).values() if a.localName == 'Semantic']
        named += [_text_of(inner).strip()] if inner.localName == 'Semantic' else []
        yield from (_SEMANTICS.get(name, _OTHERS) for name in named if name != 'Primary')


def _elements(node: Any) -> Iterator[Any]:
    """All elements below a node, and itself if it is one."""
    if node.nodeType == node.ELEMENT_NODE:
        yield node
    for child in node.childNodes:
        yield from _elements(child)


def _text_of(element: Any) -> str:
    return ''.join(child.data for child in element.childNodes if child.nodeType == child.TEXT_NODE)
