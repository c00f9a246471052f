"""Explain why a file is not a supported photo, and what to do."""

from __future__ import annotations

from basicsr.images.tiff import DEVELOP

RAW_SUFFIXES = (
    *('.dng', '.cr2', '.cr3', '.crw', '.nef', '.nrw', '.arw', '.srf', '.sr2', '.orf', '.rw2', '.raf', '.pef', '.srw'),
    *('.x3f', '.3fr', '.fff', '.iiq', '.mef', '.mos', '.mrw', '.erf', '.kdc', '.dcr', '.rwl', '.gpr', '.raw'),
)
"""Extensions of camera raw files, in lower case."""
UNREAD_SUFFIXES = (
    *RAW_SUFFIXES,
    *('.jxl', '.jp2', '.j2k', '.jpx', '.jxr', '.psd', '.psb', '.exr', '.hdr', '.svg', '.ico', '.tga', '.xcf'),
)
"""Extensions of unsupported image files, in lower case."""

_RAW_MARKS = (b'FUJIFILMCCD-RAW', b'IIRO', b'IIRS', b'MMOR', b'IIU\0', b'FOVb', b'\0MRM', b'II\x1a\0\0\0HEAPCCDR')
_FORMATS = {
    (b'\xff\x0a', b'\0\0\0\x0cJXL '): 'JPEG XL',
    (b'\0\0\0\x0cjP  ', b'\xff\x4f\xff\x51'): 'JPEG 2000',
    (b'II\xbc',): 'JPEG XR',
    (b'8BPS',): 'a Photoshop document',
    (b'v/1\x01',): 'OpenEXR',
    (b'#?RADIANCE',): 'Radiance HDR',
    (b'%PDF',): 'PDF',
    (b'<svg',): 'SVG',
    (b'\0\0\x01\0',): 'an icon',
    (b'gimp xcf',): 'a GIMP document',
}
_SUPPORTED = (b'\xff\xd8\xff', b'\x89PNG', b'II*\0', b'MM\0*', b'GIF8', b'BM')


def why_not_a_photo(data: bytes) -> str:
    """Return why a file with this content cannot be read, and what to do."""
    if data.startswith(_RAW_MARKS) or data[4:12] == b'ftypcrx ':
        return DEVELOP
    known = next((name for marks, name in _FORMATS.items() if data.startswith(marks)), None)
    if known is not None:
        return f'{known}, which is not supported; save it as JPEG, PNG or TIFF first'
    if data[4:8] == b'ftyp' or data.startswith((b'RIFF', b'\x1aE\xdf\xa3')):
        return 'a video, not a photo; name it with its extension (.mp4, .mov, .avi, .mkv)'
    if data.startswith(_SUPPORTED):
        return 'damaged or unsupported'
    return 'not a readable image. Supported: JPEG, PNG, TIFF, BMP, WebP, AVIF, GIF, HEIC'
