"""Format a file's tags (names and values) as text and as XMP."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

# Tags that XMP has its own element for. The XMP description holds all tags.
NAMED = {
    "digital_source_type": "Iptc4xmpExt:DigitalSourceType",
    "software": "xmp:CreatorTool",
}


def as_text(tags: Mapping[str, str]) -> str:
    """The tags as text, one line for each."""
    return "\n".join(f"{name}: {value}" for name, value in tags.items())


def as_xmp(tags: Mapping[str, str]) -> str:
    """The tags as an XMP packet."""
    named = "".join(
        f"<{element}>{escape(tags[name])}</{element}>"
        for name, element in NAMED.items()
        if name in tags
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'{named}<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(as_text(tags))}'
        "</rdf:li></rdf:Alt></dc:description>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    )
